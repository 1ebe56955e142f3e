"""What is kept of two variants' answers."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.offload import scores
from isthmus.offload.measuring import calibration_of, measure
from isthmus.release.confidences import LEAST_EXAMPLES, MOST_GROUPS, Calibration, Confidences
from isthmus_agent.formats.scores import LOGITS


def answers(seed: int, examples: int, noise: float = 1.5, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What edge and serving variant answer, as logits, and what is right."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(0, 2, (examples, classes))
    serving = truth + generator.normal(0, 0.3, truth.shape)
    return (truth + generator.normal(0, noise, truth.shape)).astype(np.float32), serving.astype(np.float32), truth.argmax(axis=1)


def measured(edge: np.ndarray, serving: np.ndarray, labels: np.ndarray) -> Confidences:
    calibration = calibration_of(edge, labels)
    assert calibration is not None
    return measure(calibration, edge, serving, labels, largest_difference=0.25, request_bytes=10, answer_bytes=20)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(LEAST_EXAMPLES, 900))
def test_the_groups_are_all_examples_in_the_order_of_their_confidence(seed: int, examples: int) -> None:
    edge, serving, labels = answers(seed, examples)
    found = measured(edge, serving, labels)
    assert found.examples == examples
    assert len(found.groups) <= MOST_GROUPS
    assert all(group.examples > 0 and 0 < group.least <= group.most <= 1 for group in found.groups)
    assert all(one.most < other.least for one, other in pairwise(found.groups))
    right, served = edge.argmax(axis=1) == labels, serving.argmax(axis=1) == labels
    sums = tuple(sum(getattr(group, name) for group in found.groups) for name in ("both", "edge", "serving", "neither"))
    assert sums == ((right & served).sum(), (right & ~served).sum(), (~right & served).sum(), (~right & ~served).sum())
    assert found.agreeing == (edge.argmax(axis=1) == serving.argmax(axis=1)).sum()


def test_below_any_group_lie_as_many_examples_as_their_confidences_say() -> None:
    edge, serving, labels = answers(4, 3000)
    found, calibration = measured(edge, serving, labels), calibration_of(edge, labels)
    assert calibration is not None
    sure = scores.calibrated(edge, calibration)
    assert len(found.groups) == MOST_GROUPS
    below = 0
    for before, after in pairwise(found.groups):
        below += before.examples
        assert below == (sure < (before.most + after.least) / 2).sum()
    assert max(group.examples for group in found.groups) < 3 * 3000 / MOST_GROUPS


def test_answers_of_one_confidence_are_one_group() -> None:
    edge = np.tile(np.array([[2.0, 0.0]], np.float32), (40, 1))
    labels = np.arange(40) % 4 // 3
    assert [group.examples for group in measured(edge, edge, labels).groups] == [40]


def test_the_calibrated_error_is_of_examples_that_the_temperature_was_not_fitted_to() -> None:
    edge, serving, labels = answers(9, 2000, noise=3.0)
    found = measured(edge * 3, serving, labels)
    assert found.raw_error.value > 0.1
    assert found.calibrated_error.value < found.raw_error.low / 2


@pytest.mark.parametrize(
    "edge",
    [np.full((40, 3), np.nan, np.float32), np.zeros((40, 1), np.float32), np.zeros((40, 3, 2), np.float32)],
    ids=["NaN", "one", "3-D"],
)
def test_what_has_no_confidence_has_no_calibration(edge: np.ndarray) -> None:
    assert calibration_of(edge, np.zeros(40, np.int64)) is None


def test_a_few_examples_say_nothing_about_confidence() -> None:
    edge, _, labels = answers(1, LEAST_EXAMPLES)
    assert calibration_of(edge, labels) is not None
    assert calibration_of(edge[1:], labels[1:]) is None


def test_what_is_kept_is_read_as_it_was_written() -> None:
    found = measured(*answers(2, 300))
    assert Confidences.from_json(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.parametrize(
    "raw", [("other", 1.0, 0.0), (LOGITS, 0.0, 0.0), (LOGITS, float("nan"), 0.0), (LOGITS, 1.0, 0.1), ("probabilities", 1.0, 0.0)]
)
def test_what_is_no_calibration_is_refused(raw: tuple[str, float, float]) -> None:
    with pytest.raises(ValueError, match="no calibration"):
        Calibration(*raw)
