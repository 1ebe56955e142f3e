"""How sure a candidate's answers are, and how they stand beside the serving variant's. Runs in a worker."""

import json
from typing import Any

from isthmus.compile.build.evaluation import Arrays, Evaluation
from isthmus.compile.build.golden import GOLDEN_EXAMPLES, largest_difference, plain_values
from isthmus.compile.metrics import METRICS
from isthmus.offload.measuring import calibration_of, measure
from isthmus.release.confidences import Calibration, Confidences


def sureness(evaluation: Evaluation, found: Arrays, served: Arrays | None) -> tuple[Calibration | None, Confidences | None]:
    """The calibration of a candidate's answers; None without classes to be right about, or where devices could not say how sure they are
    (several outputs, no scores). And what asking the serving variant would bring; None without one.

    Args:
        found: the candidate's answers to all of the evaluation, [examples, …] by name.
        served: the serving variant's.
    """
    if evaluation.labels is None or not METRICS[evaluation.metric].of_classes or len(found) != 1:
        return None, None
    answers = found[evaluation.output]
    calibration = calibration_of(answers, evaluation.labels)
    if calibration is None or served is None:
        return calibration, None
    confidences = measure(
        calibration,
        answers,
        served[evaluation.output],
        evaluation.labels,
        largest_difference=largest_difference(served, found),
        request_bytes=_bytes(evaluation.inputs, "instances"),
        answer_bytes=_bytes(served, "predictions"),
    )
    return calibration, confidences


def _bytes(arrays: Arrays, form: str) -> int:
    """Of one example as a row of JSON, on average over the first."""
    columns = {name: plain_values(values[:GOLDEN_EXAMPLES]) for name, values in arrays.items()}
    rows: list[Any] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return round(sum(len(json.dumps({form: [row if len(row) > 1 else next(iter(row.values()))]})) for row in rows) / len(rows))
