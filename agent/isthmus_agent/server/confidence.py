"""How sure an answer is."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SUM_TOLERANCE: Final = 0.05
"""How far probabilities may miss 1 in sum: a quantised softmax rounds each class."""


def confidence(outputs: Mapping[str, npt.NDArray[Any]]) -> float | None:
    """The largest probability of the least certain row; None where the outputs are not one table of probabilities.

    A table of probabilities is a single float output [rows, classes] of at least two classes, each in [0, 1], with a sum of 1 in each row.
    """
    if len(outputs) != 1:
        return None
    (table,) = outputs.values()
    if table.dtype.kind != "f" or table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        return None
    if not ((table >= 0) & (table <= 1 + SUM_TOLERANCE)).all():  # a NaN is neither
        return None
    if (np.abs(table.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE).any():
        return None
    return float(table.max(axis=1).min())
