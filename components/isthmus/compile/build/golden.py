"""Golden vectors: a few inputs with the source model's own answers, by which every place that serves a release can test
itself.

They are part of the digest, though another processor rounds the last bits of an answer differently. So what is derived
from measured numbers is rounded far above these bits.
"""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Arrays, Evaluation
from isthmus.compile.metrics import METRICS

GOLDEN_EXAMPLES = 8
DECIMALS = 3
"""Decimals of outputs that are at most 1; fewer for larger ones."""
CERTAINTY_DECIMALS = 2
TOLERANCE_MARGIN = 4
MIN_TOLERANCE_STEPS = 2


@dataclass(frozen=True)
class Golden:
    """inputs: by name, [examples, …]. answers: the source model's outputs by name, as they came. decimals: that floats among them
    are rounded to; negative for large ones. rows: which of the evaluation's examples they are."""

    inputs: dict[str, NDArray[Any]]
    answers: dict[str, NDArray[Any]]
    decimals: int
    rows: NDArray[np.intp]

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """The answers, rounded."""
        return {
            name: np.round(values.astype(np.float64), self.decimals) + 0.0 if _is_float(values) else values  # + 0.0: no -0.0
            for name, values in self.answers.items()
        }


def golden_rows(evaluation: Evaluation, answers: Arrays) -> NDArray[np.intp]:
    """Which examples are the golden ones: of different answered classes, those that the source is surest of; without classes, the first.

    A compressed variant may well answer differently where the source itself is torn. As golden vectors such examples would ask for a
    tolerance under which a broken file passes, too.

    Args:
        answers: the source model's to all examples, each asked alone.
    """
    count = min(GOLDEN_EXAMPLES, len(next(iter(answers.values()))))
    if evaluation.labels is None or not METRICS[evaluation.metric].of_classes:
        return np.arange(count)
    scores = answers[evaluation.output].astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([1 - scores, scores])
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    # Rounded far above the last bits, in which processors differ.
    lead = np.round(np.nan_to_num(first - second, nan=-1.0), CERTAINTY_DECIMALS)
    answered = scores.argmax(axis=1)
    order = np.lexsort((-lead, answered))  # by class, the surest first; equals stay in their order
    begins = np.flatnonzero(np.diff(answered[order], prepend=-1))
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    return np.sort(np.lexsort((answered, -lead, rank))[:count])


def examples_of(arrays: Arrays, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Some examples of all inputs or outputs, by name."""
    return {name: values[rows] for name, values in arrays.items()}


def choose_golden(evaluation: Evaluation, answers: Arrays) -> Golden:
    """The golden vectors. answers: the source model's to all examples of the evaluation, each asked alone."""
    rows = golden_rows(evaluation, answers)
    inputs, answers = examples_of(evaluation.inputs, rows), examples_of(answers, rows)
    finite = [float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in answers.values() if _is_float(v)]
    largest = max(finite, default=1.0)
    return Golden(inputs, answers, DECIMALS - math.ceil(math.log10(largest)) if largest > 1 else DECIMALS, rows)


def _is_float(values: NDArray[Any]) -> bool:
    return values.dtype.kind not in "iubOSU"


def difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where shapes, not-a-numbers or texts differ."""
    if expected.shape != found.shape:
        return math.inf
    if expected.dtype.kind in "OSU":
        return 0.0 if (expected == found).all() else math.inf
    return float(_gap(expected, found).max(initial=0.0))


def _gap(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute differences of numbers; infinite where one of the two is not a number."""
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(wide - other)
    both_odd = (np.isnan(wide) & np.isnan(other)) | (wide == other)
    return np.where(both_odd, 0.0, np.where(np.isnan(gap), math.inf, gap))


def largest_difference(expected: Arrays, found: Arrays) -> float:
    """Over all outputs, by name. Infinite where one is missing or odd."""
    return max(difference(values, found[name]) if name in found else math.inf for name, values in expected.items())


def mean_difference(expected: Arrays, found: Arrays) -> float:
    """The mean absolute difference of all numbers of all outputs, by name; those that are equal or odd in both count as 0."""
    gaps = [_gap(values, found[name]).ravel() for name, values in expected.items() if values.dtype.kind not in "OSU"]
    return float(np.concatenate(gaps).mean()) if any(gap.size for gap in gaps) else 0.0


def nice_ceiling(value: float, floor: float) -> float:
    """The next of 1, 2, 5, 10, 20 … from value up, and at least floor: the same where value differs in its last bits."""
    value = max(value, floor)
    exponent = math.floor(math.log10(value))
    for factor in (1, 2, 5, 10):
        candidate = float(f"{factor}e{exponent}")
        if candidate >= value * (1 - 1e-9):
            return candidate
    raise AssertionError(value)


def golden_noise(decimals: int) -> float:
    """Differences up to this mean nothing: they are the arithmetic's own rounding."""
    return float(f"1e{-decimals - 2}")


def golden_tolerance(decimals: int, differences: Sequence[float]) -> float:
    """What an answer may differ from a golden one: TOLERANCE_MARGIN times what the worst variant was measured to differ,
    for other processors, and at least MIN_TOLERANCE_STEPS rounding steps, for the rounding of the vectors."""
    step = float(f"1e{-decimals}")
    return nice_ceiling(TOLERANCE_MARGIN * max(differences) + step / 2, MIN_TOLERANCE_STEPS * step)


def golden_json(signature: str, golden: Golden) -> str:
    """A predict request in column form, and its answer: {"signature": …, "inputs": {name: […]}, "outputs": {name: […]}}."""
    content = {
        "signature": signature,
        "inputs": {name: plain_values(values) for name, values in sorted(golden.inputs.items())},
        "outputs": {name: plain_values(values) for name, values in sorted(golden.outputs.items())},
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=True) + "\n"


def plain_values(values: NDArray[Any]) -> Any:
    """Nested lists for JSON; bytes that are no text in TensorFlow Serving's form {"b64": …}."""
    if values.dtype.kind in "OSU":
        return [plain_values(item) if isinstance(item, np.ndarray) else _text(item) for item in values]
    return values.tolist()


def _text(value: Any) -> Any:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
