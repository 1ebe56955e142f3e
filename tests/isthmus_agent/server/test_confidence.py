"""How sure an answer is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.contents import manifest_of

from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.server.confidence import Calibration, confidence
from isthmus_agent.server.manifest import Manifest


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_confidence_of_probabilities_is_that_of_the_least_certain_row(rows: list[list[float]]) -> None:
    table = np.array(rows)
    table /= table.sum(axis=1, keepdims=True)
    assert confidence({"y": table.astype(np.float32)}) == pytest.approx(min(max(row) for row in table.tolist()), rel=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.array([[1.0, -0.5, 0.5]])},
        {"y": np.array([[3.0, 2.0, 1.0]])},
        {"y": np.array([[0.2, 0.2, 0.2]])},
        {"y": np.array([[np.nan, 0.5, 0.5]])},
        {"y": np.array([[1.0]])},
        {"y": np.array([0.5, 0.5])},
        {"y": np.array([[1, 0]])},
        {"y": np.zeros((0, 3))},
        {"y": np.array([[0.5, 0.5]]), "z": np.array([[0.5, 0.5]])},
        {"y": np.array([[b"a", b"b"]], dtype=object)},
    ],
)
def test_what_does_not_look_like_probabilities_has_no_confidence(outputs: dict[str, np.ndarray]) -> None:
    assert confidence(outputs) is None


def test_a_calibrated_confidence_is_of_softmax_of_log_p_over_the_temperature() -> None:
    table = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    weights = table**0.5
    expected = (weights / weights.sum(axis=1, keepdims=True)).max(axis=1).min()
    assert confidence({"y": table}, Calibration("probabilities", 2.0, 1e-9)) == pytest.approx(expected)
    assert confidence({"y": table}, Calibration("probabilities", 1.0, 1e-9)) == pytest.approx(0.5)


def test_logits_have_a_confidence_where_the_release_says_that_they_are_some() -> None:
    table = np.array([[2.0, 0.0, -np.inf]], np.float32)
    assert confidence({"y": table}) is None
    assert confidence({"y": table}, Calibration("logits", 1.0, 0.0)) == pytest.approx(1 / (1 + np.exp(-2.0)))
    for odd in ([[np.nan, 0.0]], [[np.inf, 0.0]], [[-np.inf, -np.inf]]):
        assert confidence({"y": np.array(odd)}, Calibration("logits", 1.0, 0.0)) is None


def manifest(**more: object) -> bytes:
    return json.dumps({**json.loads(manifest_of([("x", "float32", (1, 4))], [("y", "float32", (1, 3))])), **more}).encode()


def test_a_manifest_brings_its_calibration_and_needs_none() -> None:
    said = {"scores": "probabilities", "temperature": 1.5, "floor": 1e-9, "what a later version says": 1}
    assert Manifest.from_bytes(manifest(calibration=said)).calibration == Calibration("probabilities", 1.5, 1e-9)
    assert Manifest.from_bytes(manifest()).calibration is None


@pytest.mark.parametrize(
    "change",
    [
        {"scores": "margins"},
        {"temperature": 0},
        {"temperature": "x"},
        {"temperature": -1},
        {"floor": 1},
        {"floor": 0},
        {"floor": None},
    ],
)
def test_a_calibration_that_is_none_makes_a_content_unfit(change: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="manifest"):
        Manifest.from_bytes(manifest(calibration={"scores": "probabilities", "temperature": 1.5, "floor": 1e-9, **change}))
    with pytest.raises(FormatError, match="manifest"):
        Manifest.from_bytes(manifest(calibration=[1.5]))
