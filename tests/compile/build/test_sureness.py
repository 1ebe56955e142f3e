"""How sure a candidate's answers are, beside the serving variant's."""

from typing import Any

import numpy as np
import pytest

from isthmus.compile.build.evaluation import Evaluation
from isthmus.compile.build.sureness import sureness

LABELS = np.arange(40) % 2
EDGE = np.tile(np.array([[0.75, 0.25]], np.float32), (40, 1))
SERVED = np.where(LABELS[:, None] == [0, 1], np.float32(0.875), np.float32(0.125))
X = np.zeros((40, 3), np.float32)


def found(labels: Any = LABELS, metric: str = "accuracy", edge: Any = None, served: Any = None) -> Any:
    evaluation = Evaluation({"x": X}, labels, "y", metric)
    return sureness(evaluation, edge or {"y": EDGE}, served)


def test_both_variants_are_compared_example_by_example() -> None:
    calibration, confidences = found(served={"y": SERVED})
    assert calibration.scores == "probabilities"
    (group,) = confidences.groups
    assert (group.both, group.edge, group.serving, group.neither) == (20, 0, 20, 0)
    assert (confidences.agreeing, confidences.largest_difference) == (20, 0.625)
    assert confidences.request_bytes == len('{"instances": [[0.0, 0.0, 0.0]]}')
    assert confidences.answer_bytes == len('{"predictions": [[0.875, 0.125]]}')


def test_several_inputs_are_sent_by_name() -> None:
    evaluation = Evaluation({"a": X, "b": X}, LABELS, "y")
    _, confidences = sureness(evaluation, {"y": EDGE}, {"y": SERVED})
    assert confidences is not None
    assert confidences.request_bytes == len('{"instances": [{"a": [0.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0]}]}')


def test_without_a_serving_variant_a_device_still_knows_how_sure_it_is() -> None:
    calibration, confidences = found()
    assert calibration is not None
    assert confidences is None


@pytest.mark.parametrize(
    "changes",
    [{"labels": None}, {"metric": "r2"}, {"edge": {"y": EDGE, "z": EDGE}}, {"edge": {"y": EDGE[:, :1]}}],
    ids=["no labels", "no classes", "two outputs", "one column"],
)
def test_where_there_is_nothing_to_be_sure_of_nothing_is_measured(changes: dict[str, Any]) -> None:
    assert found(served={"y": SERVED}, **changes) == (None, None)
