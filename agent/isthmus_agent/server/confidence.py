"""How sure an answer is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.formats.scores import LEAST_LOGIT, LOGITS, PROBABILITIES, SCORES, SUM_TOLERANCE


@dataclass(frozen=True)
class Calibration:
    """How a release's answers are made as sure as they are right: by softmax(z / temperature), z the logarithm of probabilities, none of
    which counts as less than `floor`, or the logits themselves. scores: which of the two the answers are. Measured when the release was
    made, and signed with it."""

    scores: str
    temperature: float
    floor: float

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> "Calibration":
        """What a manifest says. Raises KeyError, TypeError, ValueError."""
        found = cls(value["scores"], float(value["temperature"]), float(value["floor"]))
        if found.scores not in SCORES or not (math.isfinite(found.temperature) and found.temperature > 0 and 0 <= found.floor < 1):
            raise ValueError("no calibration that is known here")
        if found.scores == PROBABILITIES and not found.floor:
            raise ValueError("a calibration of probabilities without a floor")
        return found


def confidence(outputs: Mapping[str, npt.NDArray[Any]], calibration: Calibration | None = None) -> float | None:
    """The largest probability of the least certain row, calibrated where the release says how; None where the outputs are not one table of
    probabilities, or of the logits that the release says they are.

    A table of probabilities is a single float output [rows, classes] of at least two classes, each in [0, 1], with a sum of 1 in each row.
    """
    table = next(iter(outputs.values())) if len(outputs) == 1 else None
    if table is None or table.dtype.kind != "f" or table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        return None
    if calibration is not None and calibration.scores == LOGITS:
        return _calibrated(table.astype(np.float64), calibration.temperature) if _are_logits(table) else None
    if not _are_probabilities(table):
        return None
    if calibration is None:
        return float(table.max(axis=1).min())
    return _calibrated(np.log(np.maximum(table.astype(np.float64), calibration.floor)), calibration.temperature)


def _are_logits(table: npt.NDArray[Any]) -> bool:
    return not np.isnan(table).any() and bool(np.isfinite(table.max(axis=1)).all())


def _are_probabilities(table: npt.NDArray[Any]) -> bool:
    is_share = bool(((table >= 0) & (table <= 1 + SUM_TOLERANCE)).all())  # a NaN is neither
    return is_share and not (np.abs(table.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE).any()


def _calibrated(logits: npt.NDArray[np.float64], temperature: float) -> float:
    """The largest probability of the least certain row: of softmax(z / T) it is 1 / Σ e^{(z − max z) / T}."""
    beside = np.maximum(logits - logits.max(axis=1, keepdims=True), LEAST_LOGIT)
    return float((1 / np.exp(beside / temperature).sum(axis=1)).min())
