"""What answers are, and how sure each is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isthmus.offload import scores
from isthmus.release.confidences import Calibration
from isthmus_agent.formats.scores import LOGITS, PROBABILITIES
from isthmus_agent.server import confidence as device

LOGIT_TABLES = arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.floats(-50, 50))


def softmax(table: np.ndarray) -> np.ndarray:
    weights = np.exp(table - table.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ([[0.25, 0.75], [1.0, 0.0]], PROBABILITIES),
        ([[0.25, 0.79]], PROBABILITIES),
        ([[0.25, 0.85]], LOGITS),
        ([[-1.0, 2.0], [0.0, 0.0]], LOGITS),
        ([[-np.inf, 2.0]], LOGITS),
        ([[np.inf, 2.0]], None),
        ([[np.nan, 2.0]], None),
        ([[-np.inf, -np.inf]], None),
        ([[1.0]], None),
        (np.zeros((0, 3)), None),
        ([1.0, 2.0], None),
    ],
)
def test_what_answers_are_is_seen_from_the_answers(table: object, kind: str | None) -> None:
    assert scores.kind_of(np.asarray(table, np.float64)) == kind


def test_whole_numbers_are_no_scores() -> None:
    assert scores.kind_of(np.array([[1, 0]])) is None


@given(LOGIT_TABLES, st.floats(0.05, 20))
def test_a_temperature_changes_no_answer_and_no_order_of_classes(table: np.ndarray, temperature: float) -> None:
    logits = scores.logits_of(table, LOGITS, 0.0)
    assert softmax(logits / temperature).max(axis=1) == pytest.approx(scores.confidences(logits, temperature), rel=1e-9)
    assert (table[np.arange(len(table)), logits.argmax(axis=1)] == table.max(axis=1)).all()


@given(LOGIT_TABLES, st.floats(0.05, 20), st.floats(1.01, 3))
def test_a_higher_temperature_is_never_surer(table: np.ndarray, temperature: float, factor: float) -> None:
    logits = scores.logits_of(table, LOGITS, 0.0)
    assert (scores.confidences(logits, temperature * factor) <= scores.confidences(logits, temperature) + 1e-12).all()


@given(LOGIT_TABLES)
def test_logits_and_their_probabilities_are_equally_sure(table: np.ndarray) -> None:
    logits, probabilities = scores.logits_of(table, LOGITS, 0.0), softmax(table)
    again = scores.logits_of(probabilities, PROBABILITIES, 2.0**-120)
    assert scores.confidences(logits, 1.7) == pytest.approx(scores.confidences(again, 1.7), rel=1e-6)


def test_a_probability_of_zero_counts_as_half_of_the_smallest_that_is_none() -> None:
    table = np.array([[0.0, 1.0], [1 / 256, 255 / 256]])
    assert scores.floor_of(table) == 1 / 512
    assert scores.floor_of(table * (1 + 1e-6)) == 1 / 512  # whatever the last bits are
    assert scores.floor_of(np.array([[0.0, 1.0]])) == 0.25
    assert scores.floor_of(np.array([[1e-300, 1.0]])) == 2.0**-120


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-30, 30, width=32)),
    st.floats(0.05, 20),
    st.booleans(),
)
def test_a_device_is_as_sure_as_was_measured(table: np.ndarray, temperature: float, as_logits: bool) -> None:
    answers = table if as_logits else softmax(table.astype(np.float64)).astype(np.float32)
    calibration = Calibration(LOGITS, temperature) if as_logits else Calibration(PROBABILITIES, temperature, scores.floor_of(answers))
    applied = device.Calibration(calibration.scores, calibration.temperature, calibration.floor)
    assert device.confidence({"y": answers}, applied) == pytest.approx(float(scores.calibrated(answers, calibration).min()), abs=1e-12)


def test_what_both_sides_take_for_probabilities_is_the_same() -> None:
    assert scores.SUM_TOLERANCE == device.SUM_TOLERANCE
    assert scores.LEAST_LOGIT == device.LEAST_LOGIT
    assert {LOGITS, PROBABILITIES} == set(device.SCORES)
