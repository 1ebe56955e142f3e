"""Evaluation data: what fits a model, and what its metric says of answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Evaluation, load_evaluation, load_inputs
from isthmus.compile.metrics import DEFAULT_METRIC, MAX_CONFUSION_CLASSES, METRICS, confusion_matrix
from isthmus.errors import SourceError
from isthmus.release.manifest import TensorSpec

INPUT = TensorSpec("image", "float32", (-1, 4))
CLASSES = TensorSpec("label", "float32", (-1, 3))
NUMBER = TensorSpec("rating", "float32", (-1, 1))
X = np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4)


def _load(folder: Path, output: TensorSpec = CLASSES, **arrays: Any) -> Evaluation:
    np.savez(folder / "evaluation.npz", **{"x": X, "y": np.arange(10) % 3, **arrays})
    return load_evaluation(folder / "evaluation.npz", [INPUT], [output], "digits.model")


def test_the_metric_is_accuracy_unless_the_data_name_another(tmp_path: Path) -> None:
    assert _load(tmp_path).metric == DEFAULT_METRIC
    assert _load(tmp_path, NUMBER, y=np.linspace(0, 5, 10), metric="d2_absolute_error").metric == "d2_absolute_error"


def test_examples_of_a_wider_type_are_narrowed(tmp_path: Path) -> None:
    assert _load(tmp_path, x=X.astype(np.float64)).inputs["image"].dtype == np.float32


@pytest.mark.parametrize(
    ("output", "arrays", "said"),
    [
        (CLASSES, {"metric": "bleu"}, r"metric 'bleu' that is not known; expected one of: accuracy: share of examples"),
        (CLASSES, {"metric": "top_5"}, r"has shape \(-1, 3\): top_5 needs classes; expected \[N, 6 or more\]"),
        (CLASSES, {"y": np.linspace(0, 1, 10)}, r"y in evaluation.npz is float64 \[10\]; expected whole numbers"),
        (CLASSES, {"y": np.arange(10)}, r"classes 0 to 9; expected 0 to 2"),
        (CLASSES, {"y": -np.arange(10) % 3 - 1}, r"classes -1 to 1; expected 0 to 2"),
        (CLASSES, {"y": np.arange(9) % 3}, r"has 10 of image for 9 examples; expected as many of each"),
        (CLASSES, {"x": X[:0], "y": np.arange(0)}, r"for 0 examples; expected as many of each, at least one"),
        (CLASSES, {"x": X[:, :3]}, r"x in evaluation.npz is float32 \[10, 3\] and does not fit input 'image'; expected float32 \[-1, 4\]"),
        (CLASSES, {"x": (X * 255).astype(np.int64).astype("U")}, r"does not fit input 'image'"),
        (NUMBER, {"metric": "r2", "y": np.array([np.nan] * 10)}, r"expected finite numbers, as many an example as output 'rating'"),
        (NUMBER, {"metric": "r2", "y": np.zeros((10, 2))}, r"y in evaluation.npz is float64 \[10, 2\]"),
        (TensorSpec("map", "float32", (-1, 4, 4)), {}, r"has shape \(-1, 4, 4\): accuracy needs classes"),
    ],
)
def test_data_that_do_not_fit_say_how(tmp_path: Path, output: TensorSpec, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        _load(tmp_path, output, **arrays)


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as raised:
        _load(tmp_path, x=X[:, :3], y=np.linspace(0, 1, 10), metric="top_5")
    assert len(raised.value.problems) == 2


def test_inputs_without_labels_are_checked_in_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "calibration.npz"
    np.savez(file, image=X)
    assert (load_inputs(file, [INPUT], "digits.model")["image"] == X).all()
    np.savez(file, image=X[:, :2])
    with pytest.raises(SourceError, match=r"image in calibration.npz is float32 \[10, 2\] and does not fit"):
        load_inputs(file, [INPUT], "digits.model")
    np.savez(file, other=X, another=X)
    with pytest.raises(SourceError, match=r"no array for input 'image' \(it has: another, other\)"):
        load_inputs(file, [INPUT], "digits.model")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_named_and_never_a_traceback(tmp_path: Path, save: Any) -> None:
    file = tmp_path / "evaluation.npz"
    save(file, x=X, y=np.arange(10) % 3)
    sound = file.read_bytes()
    refused: list[str] = []
    for start in range(0, len(sound), 7):
        file.write_bytes(sound[:start] + bytes(b ^ 0x5A for b in sound[start : start + 7]) + sound[start + 7 :])
        try:
            load_evaluation(file, [INPUT], [CLASSES], "digits.model")
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > len(sound) // 14  # the rest is in fields that nobody reads
    assert all(text.startswith(("digits.model: ", "1. digits.model: ")) for text in refused)


def test_made_up_inputs_are_the_same_every_time() -> None:
    first, second = (load_evaluation(None, [INPUT, TensorSpec("id", "int32", (-1, -1))], [CLASSES], "m") for _ in range(2))
    assert first.examples == 0
    assert first.score({}) is None
    assert first.confusion({}) == ()
    assert all((first.inputs[name] == second.inputs[name]).all() for name in ("image", "id"))


def test_each_example_is_asked_alone() -> None:
    asked: list[int] = []

    def runner(inputs: Any) -> dict[str, NDArray[Any]]:
        asked.append(len(inputs["image"]))
        return {"label": inputs["image"] * 2}

    evaluation = Evaluation({"image": X}, None)
    assert (evaluation.answers(runner, "m")["label"] == X * 2).all()
    assert asked == [1] * 10


def test_answers_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(SourceError, match="do not go together"):
        Evaluation({"image": X}, None).answers(lambda inputs: {"label": np.float32(1)}, "m")


labels = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(np.array)


@given(labels, st.integers(0, 1 << 32))
def test_a_confusion_matrix_counts_each_example_once_and_agrees_with_the_accuracy(wanted: NDArray[np.int64], seed: int) -> None:
    outputs = np.random.default_rng(seed).random((len(wanted), 10))
    matrix = np.array(confusion_matrix(outputs, wanted))
    assert matrix.sum() == len(wanted)
    assert (matrix.sum(axis=1) == np.bincount(wanted, minlength=10)).all()
    assert matrix.trace() / len(wanted) == METRICS["accuracy"].score(outputs, wanted)


@given(labels, st.integers(0, 1 << 32))
def test_five_guesses_are_at_least_as_good_as_one(wanted: NDArray[np.int64], seed: int) -> None:
    outputs = np.random.default_rng(seed).random((len(wanted), 10))
    by_hand = sum(label in sorted(range(10), key=lambda k: -row[k])[:5] for label, row in zip(wanted, outputs, strict=True))
    assert METRICS["top_5"].score(outputs, wanted) == by_hand / len(wanted)
    assert METRICS["top_5"].score(outputs, wanted) >= METRICS["accuracy"].score(outputs, wanted)


def test_many_classes_have_no_confusion_matrix() -> None:
    assert confusion_matrix(np.zeros((1, MAX_CONFUSION_CLASSES + 1)), np.array([0])) == ()
    assert len(confusion_matrix(np.zeros((1, MAX_CONFUSION_CLASSES)), np.array([0]))) == MAX_CONFUSION_CLASSES


def test_one_probability_is_a_class_of_two() -> None:
    outputs, wanted = np.array([[0.9], [0.2], [0.6]]), np.array([1, 0, 0])
    assert METRICS["accuracy"].score(outputs, wanted) == 2 / 3
    assert confusion_matrix(outputs, wanted) == ((1, 1), (0, 1))


@pytest.mark.parametrize(("metric", "centre"), [("d2_absolute_error", np.median), ("r2", np.mean)])
def test_metrics_of_numbers_are_1_when_perfect_and_0_for_a_constant(metric: str, centre: Any) -> None:
    wanted = np.array([1.0, 2.0, 3.0, 10.0])
    score = METRICS[metric].score
    assert score(wanted[:, None], wanted) == 1
    assert score(np.full((4, 1), centre(wanted)), wanted) == 0
    assert score(np.full((4, 1), 100.0), wanted) < 0
    assert score(np.full((4, 1), 7.0), np.full(4, 7.0)) == 1


def test_the_score_of_numbers_forgets_the_last_bits() -> None:
    evaluation = Evaluation({"image": X}, np.linspace(0, 5, 10), "rating", "r2")
    answers = {"rating": np.linspace(0.1, 5.2, 10)[:, None]}
    noisy = {"rating": answers["rating"] * (1 + 1e-7)}
    assert METRICS["r2"].score(answers["rating"], np.linspace(0, 5, 10)) != METRICS["r2"].score(noisy["rating"], np.linspace(0, 5, 10))
    assert evaluation.score(answers) == evaluation.score(noisy)
