"""From a classifier's answers to what a softmax takes."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus.release.confidences import Calibration
from isthmus_agent.formats.scores import LEAST_LOGIT, LOGITS, PROBABILITIES, SUM_TOLERANCE

_LEAST_FLOOR: Final = 2.0**-120

Scores = NDArray[np.float64]


def kind_of(table: NDArray[Any]) -> str | None:
    """What answers are, PROBABILITIES or LOGITS; None: they are no scores [N, classes] of at least two classes, or not all numbers."""
    if table.dtype.kind != "f" or table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        return None
    wide = table.astype(np.float64)
    if np.isnan(wide).any() or not np.isfinite(wide.max(axis=1)).all():
        return None
    is_share = ((wide >= 0) & (wide <= 1 + SUM_TOLERANCE)).all()
    return PROBABILITIES if is_share and (np.abs(wide.sum(axis=1) - 1) <= SUM_TOLERANCE).all() else LOGITS


def floor_of(table: NDArray[Any]) -> float:
    """The probability that one of 0 stands for: half of the smallest that is none, as a power of two, so that last bits do not count.

    A softmax of 8 bits answers 0 for all that is below 1/512, and one of 32 bits for nothing that matters.
    """
    positive = table[table > 0].astype(np.float64)
    half = math.ldexp(1.0, math.floor(math.log2(positive.min() / 2)))
    return max(_LEAST_FLOOR, min(half, 0.5 / int(table.shape[1])))


def logits_of(table: NDArray[Any], scores: str, floor: float) -> Scores:
    """What the softmax takes, [N, classes]: the logarithm of probabilities, or logits, each row's largest moved to 0."""
    wide = table.astype(np.float64)
    logits = np.log(np.maximum(wide, floor)) if scores == PROBABILITIES else wide
    return np.asarray(np.maximum(logits - logits.max(axis=1, keepdims=True), LEAST_LOGIT))


def confidences(logits: Scores, temperature: float) -> Scores:
    """The largest element of softmax(z / T) of each row, [N]: 1 / Σ e^{(z − max z) / T}."""
    return np.asarray(1 / np.exp(logits / temperature).sum(axis=1))


def calibrated(table: NDArray[Any], calibration: Calibration) -> Scores:
    """How sure each answer is, [N]."""
    return confidences(logits_of(table, calibration.scores, calibration.floor), calibration.temperature)


def raw(table: NDArray[Any], scores: str) -> Scores:
    """How sure each answer says that it is, [N]: its largest probability, or that of the softmax of its logits."""
    return table.max(axis=1).astype(np.float64).clip(0, 1) if scores == PROBABILITIES else confidences(logits_of(table, LOGITS, 0.0), 1.0)
