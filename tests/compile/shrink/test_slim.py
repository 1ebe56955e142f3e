"""Folding and low rank: the same answers from fewer layers, or from fewer weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.compile.recipes import Recipe
from isthmus.compile.shrink import shrink
from isthmus.compile.shrink.fold import fold
from isthmus.compile.shrink.graph import rewrite, weight_count
from isthmus.compile.shrink.low_rank import MIN_SAVED_WEIGHTS, factorise, factors, paying_rank
from isthmus.errors import SourceError

pytestmark = pytest.mark.slow
keras = pytest.importorskip("keras")
layers = keras.layers
Answers = Callable[[Any], list[np.ndarray]]
Change = Callable[[Any], Any]


def _normalisations(model: Any) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


MAKERS = {
    "conv": lambda: layers.Conv2D(6, 3),
    "conv_without_bias": lambda: layers.Conv2D(6, 3, use_bias=False),
    "grouped": lambda: layers.Conv2D(6, 3, groups=3),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "separable": lambda: layers.SeparableConv2D(6, 3, depth_multiplier=2),
    "transposed": lambda: layers.Conv2DTranspose(5, 3, use_bias=False),
    "dense": lambda: layers.Dense(7),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("plain", [{}, {"scale": False}, {"center": False, "scale": False}])
def test_a_folded_normalisation_answers_as_before(maker: str, plain: dict[str, bool], answers: Answers, randomise: Change) -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization(epsilon=0.01, **plain)(MAKERS[maker]()(image)))
    model = randomise(keras.Model(image, layers.Dense(3, name="label")(layers.Flatten()(x))))
    folded, count = fold(model, "m")
    assert count == 1
    assert _normalisations(folded) == 0
    for before, after in zip(answers(model), answers(folded), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5 * max(1, np.abs(before).max()))


def test_a_normalisation_stays_where_folding_would_change_something_else(answers: Answers, randomise: Change) -> None:
    image = keras.Input((8, 8, 3), name="image")
    activated = layers.BatchNormalization()(layers.Conv2D(4, 1, activation="relu")(image))
    read_twice = layers.Conv2D(4, 1)(activated)
    joined = layers.Add()([layers.BatchNormalization()(read_twice), read_twice])
    shared = layers.Conv2D(4, 1)
    both = layers.Concatenate()([layers.BatchNormalization()(shared(joined)), shared(activated)])
    outcome = layers.BatchNormalization(name="outcome")(layers.Dense(3)(layers.Flatten()(both)))
    model = randomise(keras.Model(image, outcome))
    folded, count = fold(model, "m")
    assert count == 0
    assert _normalisations(folded) == 4
    assert folded.output_names == ["outcome"]
    np.testing.assert_array_equal(answers(model)[0], answers(folded)[0])


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Dense(12, activation="relu"),
        lambda: layers.Conv2D(12, 3, strides=2, padding="same", activation="relu"),
        lambda: layers.Conv2D(12, (1, 3), dilation_rate=2, use_bias=False),
    ],
)
def test_two_factors_of_full_rank_answer_as_before(layer: Any, answers: Answers, randomise: Change) -> None:
    image = keras.Input((8, 8, 5), name="image")
    model = randomise(keras.Model(image, layers.Flatten()(layer()(image))))
    name = model.layers[1].name
    split = rewrite(model, lambda one: factors(one, _full_rank(one)) if one.name == name else None)
    for before, after in zip(answers(model), answers(split), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)


def _full_rank(layer: Any) -> int:
    kernel = layer.get_weights()[0]
    return min(kernel.reshape(-1, kernel.shape[-1]).shape)


@given(st.integers(20, 80), st.integers(20, 80), st.integers(1, 20), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
@settings(max_examples=50, deadline=None)
def test_the_rank_is_the_smallest_that_keeps_the_energy_and_pays(rows: int, columns: int, rank: int, energy: float) -> None:
    generator = np.random.default_rng(rows * columns + rank)
    matrix = (generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns))).astype(np.float32)
    found = paying_rank(matrix, energy)
    squares = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    kept = np.cumsum(squares) / squares.sum()
    smallest = min(rank, next(index + 1 for index, share in enumerate(kept) if share >= energy - 1e-9))
    pays = rows * columns - smallest * (rows + columns) >= MIN_SAVED_WEIGHTS
    assert found == (smallest if pays else None)


def test_layers_of_low_rank_are_split_and_others_are_not(answers: Answers, randomise: Change) -> None:
    features = keras.Input((64,), name="features")
    x = layers.Dense(64, activation="tanh", name="simple")(features)
    x = layers.Dense(64, activation="tanh", name="random")(x)
    model = randomise(keras.Model(features, layers.Dense(4, name="label")(x)))
    generator = np.random.default_rng(1)
    simple = model.get_layer("simple")
    simple.set_weights([(generator.normal(size=(64, 3)) @ generator.normal(size=(3, 64)) / 20).astype(np.float32), simple.get_weights()[1]])
    split, count = factorise(model, 1.0, "m")
    assert count == 1
    assert split.get_layer("simple_basis").kernel.shape == (64, 3)
    assert split.get_layer("random").kernel.shape == (64, 64)
    assert weight_count(split) == weight_count(model) - 64 * 64 + 2 * 3 * 64
    np.testing.assert_allclose(answers(split)[0], answers(model)[0], atol=1e-5)


def test_slim_does_without_training_what_needs_none_and_asks_for_it_otherwise(randomise: Change) -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    model = randomise(keras.Model(image, layers.Dense(3, name="label")(layers.Flatten()(x))))
    lines: list[str] = []
    folded = shrink(model, Recipe.of("slim").structure[0], None, lines.append, "m")
    assert _normalisations(folded) == 0
    assert "1 batch normalisations folded" in lines[-1]
    with pytest.raises(SourceError, match=r"slim:width=75% trains the model.*fit\(model, epochs, callbacks\)"):
        shrink(model, Recipe.of("slim:width=75%").structure[0], None, lines.append, "m")
