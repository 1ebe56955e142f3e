"""Small models with every kind of join, and folders with a training function."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile.shrink import Training, load_training
from isthmus.compile.sources.source import Source, find_source

DIGITS = Path(__file__).parents[3] / "models" / "digits"


def _answers(model: Any, examples: int = 16) -> list[np.ndarray]:
    """What the model says of random inputs, the same ones for the same shapes."""
    import keras

    generator = np.random.default_rng(11)
    inputs = [generator.normal(size=(examples, *(size or 5 for size in tensor.shape[1:]))).astype(np.float32) for tensor in model.inputs]
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    return [np.asarray(answer) for answer in keras.tree.flatten(model(packed, training=False))]


def _randomise(model: Any) -> Any:
    """Weights as after some training: also statistics of normalisations away from 0 and 1, biases away from 0."""
    generator = np.random.default_rng(12)
    for layer in model._flatten_layers(include_self=False):
        for weight in layer._trainable_variables + layer._non_trainable_variables:
            if weight.dtype == "float32":
                scale = 1 / np.sqrt(max(1, np.prod(weight.shape[:-1])))
                value = generator.normal(size=weight.shape) * scale
                weight.assign(np.abs(value) + 0.5 if "variance" in weight.name or weight.name == "gamma" else value)
    return model


@pytest.fixture(scope="session")
def answers() -> Callable[[Any], list[np.ndarray]]:
    return _answers


@pytest.fixture(scope="session")
def randomise() -> Callable[[Any], Any]:
    return _randomise


@pytest.fixture(scope="session")
def digits_folder() -> Path:
    return DIGITS


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Source]:
    """A project with the model folder `tiny`, whose model.py is the given code."""

    def make(code: str) -> Source:
        keras = pytest.importorskip("keras")
        folder = tmp_path / "tiny"
        folder.mkdir()
        (folder / "model.py").write_text(textwrap.dedent(code))
        inputs = keras.Input((4,), name="features")
        hidden = keras.layers.Dense(8, "relu", name="hidden")(inputs)
        keras.Model(inputs, keras.layers.Dense(3, "softmax", name="label")(hidden)).save(folder / "model.keras")
        source, problems = find_source("tiny", None, tmp_path, "tiny")
        assert source is not None, problems
        return source

    return make


@pytest.fixture(scope="session")
def digits_training() -> Training:
    """The digits folder's own training, with few epochs."""
    pytest.importorskip("sklearn")
    source, _ = find_source("models/digits", None, DIGITS.parents[1], "digits")
    assert source is not None
    training = load_training(source, "digits.model")
    assert training is not None
    training.epochs = 6
    return training


@pytest.fixture
def digits() -> Any:
    keras = pytest.importorskip("keras")
    return keras.saving.load_model(DIGITS / "model.keras", compile=False)
