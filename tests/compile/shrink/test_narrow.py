"""Filters that go take with them all that belongs to them, in every kind of network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus.compile.shrink.channels import FIXED, MADE, find_channels
from isthmus.compile.shrink.graph import opened, weight_count
from isthmus.compile.shrink.narrow import Families, least_important, narrow, to_width
from isthmus.errors import SourceError

pytestmark = pytest.mark.slow
keras = pytest.importorskip("keras")
layers = keras.layers
Answers = Callable[[Any], list[np.ndarray]]
Change = Callable[[Any], Any]
Build = Callable[[Callable[[Any], Any]], Any]
Network = Callable[[Any], Any]  # hidden layers: image [N, 8, 8, 3] → any tensor


def _plain(x: Any) -> Any:
    x = layers.MaxPooling2D()(layers.Conv2D(6, 3, padding="same", activation="relu")(x))
    return layers.Dense(10, activation="relu")(layers.Flatten()(x))


def _normalised(x: Any) -> Any:
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, use_bias=False)(x)))
    return layers.GlobalAveragePooling2D()(layers.BatchNormalization()(layers.Conv2D(8, 1)(x)))


def _depthwise(x: Any) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.Conv2D(6, 3)(x))
    x = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2)(layers.BatchNormalization()(x))
    return layers.GlobalMaxPooling2D()(layers.PReLU(shared_axes=[1, 2])(x))


def _residual(x: Any) -> Any:
    x = layers.Conv2D(6, 3, padding="same")(x)
    y = layers.Conv2D(6, 3, padding="same")(layers.ReLU()(x))
    x = layers.Add()([x, y])
    return layers.Flatten()(layers.Conv2D(4, 3)(x + layers.Conv2D(6, 1)(x)))


def _concatenated(x: Any) -> Any:
    left, right = layers.Conv2D(4, 3)(x), layers.Conv2D(6, 3)(x)
    x = layers.Concatenate()([left, right, left])
    return layers.Flatten()(layers.Conv2DTranspose(5, 3)(x))


def _squeezed(x: Any) -> Any:
    x = layers.Conv2D(8, 3)(x)
    gate = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(8, 1)(layers.Conv2D(4, 1, activation="relu")(gate))
    return layers.Flatten()(layers.Multiply()([x, gate]))


def _shared(x: Any) -> Any:
    shared = layers.Conv2D(6, 3, padding="same")
    x = shared(layers.Conv2D(6, 1)(x))
    return layers.Flatten()(layers.Concatenate(axis=1)([shared(x), x]))


def _nested(x: Any) -> Any:
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, name="twin"), layers.BatchNormalization()], name="inner")
    outer = keras.Input((6, 6, 6))
    more = keras.Model(outer, layers.Conv2D(5, 3, name="twin")(outer), name="more")
    return layers.Reshape((-1,))(layers.Conv2D(6, 3, name="twin")(more(inner(x))))


def _unknown(x: Any) -> Any:
    """Layers that only work whole between others that may shrink."""
    x = layers.Conv2D(8, 3, groups=2)(layers.Conv2D(6, 3)(x))
    x = layers.LayerNormalization()(layers.Conv2D(6, 1)(layers.Conv2D(6, 1)(x)))
    x = layers.Softmax()(layers.Conv2D(4, 1)(layers.Permute((2, 1, 3))(x)))
    return layers.LSTM(5)(layers.Reshape((-1, 4))(x))


NETWORKS = [_plain, _normalised, _depthwise, _residual, _concatenated, _squeezed, _shared, _nested, _unknown]


@pytest.fixture
def build(randomise: Change) -> Build:
    def model(network: Network) -> Any:
        keras.utils.set_random_seed(4)
        image = keras.Input((8, 8, 3), name="image")
        out = layers.Dense(4, activation="softmax", name="label")(network(image))
        return randomise(keras.Model(image, out))

    return model


def _silence(model: Any, removed: set[int]) -> None:
    """Makes the channels of these classes do nothing: no layer reads them."""
    channels = find_channels(*opened(model, "m"))
    for layer in model.layers:
        weights = layer.get_weights()
        for index, axis, role, classes in channels.axes(layer):
            if role != MADE and "kernel" in layer.weights[index].name and type(layer).__name__ != "DepthwiseConv2D":
                np.moveaxis(weights[index], axis, 0)[np.isin(classes, list(removed))] = 0
        layer.set_weights(weights)


@pytest.mark.parametrize("network", NETWORKS)
def test_removing_channels_that_nobody_reads_changes_no_answer(network: Network, answers: Answers, build: Build) -> None:
    model, _ = opened(build(network), "m")
    chosen: set[int] = set()

    def choose(families: Families) -> set[int]:
        chosen.update(to_width(0.5)(families))
        return set(chosen)

    narrow(model, choose, "m")
    assert chosen
    assert FIXED not in chosen
    silent, _ = opened(model, "m")
    _silence(silent, chosen)
    narrowed = narrow(silent, lambda _: chosen, "m").model
    assert weight_count(narrowed) < weight_count(model)
    for before, after in zip(answers(silent), answers(narrowed), strict=True):
        np.testing.assert_allclose(after, before, atol=2e-5)
    # The check has teeth: the channels did something.
    assert max(np.abs(one - other).max() for one, other in zip(answers(model), answers(silent), strict=True)) > 1e-4


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("choose", [least_important(0.9), to_width(0.1)])
def test_even_nine_tenths_less_leaves_a_network_that_runs_and_trains(network: Network, choose: Any, build: Build) -> None:
    model = build(network)
    before = [weight.copy() for weight in model.get_weights()]
    narrowed = narrow(model, choose, "m")
    assert 0 < narrowed.removed < narrowed.removable
    assert [tensor.name for tensor in narrowed.model.inputs] == ["image"]
    assert narrowed.model.output_names == model.output_names
    assert narrowed.model.output_shape == model.output_shape
    narrowed.model.compile("sgd", "sparse_categorical_crossentropy")
    narrowed.model.fit(np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, np.int64), epochs=1, verbose=0)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)), "the model itself is left alone"


def test_channels_that_are_added_go_together_and_those_of_unknown_layers_stay(build: Build) -> None:
    model, calls = opened(build(_residual), "m")
    channels = find_channels(model, calls)
    convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
    classes = [frozenset(channels.classes(channels.made[name]).tolist()) for name in convolutions]
    assert sorted(classes.count(one) for one in set(classes)) == [1, 3], "three are added up, the last one stands alone"
    assert FIXED not in frozenset.union(*classes)
    grouped, calls = opened(build(_unknown), "m")
    channels = find_channels(grouped, calls)
    before_groups = next(layer.name for layer in grouped.layers if isinstance(layer, layers.Conv2D))
    assert set(channels.classes(channels.made[before_groups]).tolist()) == {FIXED}


def test_a_subclass_of_a_known_layer_is_left_whole(build: Build) -> None:
    class Doubled(layers.Conv2D):
        def call(self, inputs: Any) -> Any:
            return keras.ops.flip(super().call(inputs), axis=-1)

    model = build(lambda x: layers.Flatten()(layers.Conv2D(4, 1)(Doubled(6, 3)(layers.Conv2D(5, 1)(x)))))
    narrowed = narrow(model, to_width(0.5), "m")
    assert narrowed.removable == 4


def test_a_network_without_hidden_filters_is_refused(build: Build) -> None:
    model = build(layers.Flatten())
    with pytest.raises(SourceError, match="no layer of the model has filters that could be removed"):
        narrow(model, to_width(0.5), "m")


def test_a_subclassed_model_is_refused_with_what_would_work() -> None:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Mine()
    model(np.zeros((1, 4), np.float32))
    with pytest.raises(SourceError, match=r"called by Python code.*functional Keras model.*int8"):
        opened(model, "m")


def test_outputs_of_any_structure_keep_their_order_and_names(answers: Answers, randomise: Change) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    hidden = layers.Dense(8, "relu")(layers.Concatenate()([left, right]))
    outputs = {"size": layers.Dense(1, name="size")(hidden), "label": layers.Dense(3, name="label")(hidden)}
    model = randomise(keras.Model({"left": left, "right": right}, outputs))
    copied, _ = opened(model, "m")
    assert copied.output_names == model.output_names
    assert list(copied.output) == list(model.output)
    for one, other in zip(answers(model), answers(copied), strict=True):
        np.testing.assert_array_equal(one, other)
    narrowed = narrow(model, to_width(0.25), "m").model
    assert list(narrowed.output) == list(model.output)
    assert narrowed.get_layer("label").weights[0].shape == (2, 3)
