"""Sharing out a total by one common level, with a floor and a ceiling for each receiver.

Both the shares of requests (formula 3) and the split of divisible work (formula 2) come down to the same equation in one
unknown t: Σ clip(slope_i · (t + offset_i), lower_i, upper_i) = total. Its left side grows with t and is straight between
breakpoints, so that sorting the 2M breakpoints gives the exact answer: O(M log M), no iteration towards a limit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Filled:
    """amounts: shape (M,), within the bounds, summing to the total. level: t. free: those at neither bound, shape (M,)."""

    amounts: Floats
    level: float
    free: NDArray[np.bool_]


def fill(slope: Floats, offset: Floats, lower: Floats, upper: Floats, total: float) -> Filled:
    """The amounts with that total at one common level.

    Args:
        slope: positive, shape (M,). offset: shape (M,). lower, upper: shape (M,), lower ≤ upper; upper may be infinite.
        total: what is shared out. Below Σ lower it is taken for Σ lower, above Σ upper for Σ upper.
    """
    starts = lower / slope - offset  # the level at which a receiver leaves its floor
    if np.isinf(upper).all():
        ends, at = upper, _last_start(slope, offset, lower, starts, total)
    else:
        ends = upper / slope - offset
        at = _last_breakpoint(slope, offset, lower, upper, total)
    free = (starts <= at) & (ends > at)
    full = (ends <= at) & np.isfinite(ends)
    amounts = np.where(full, upper, lower)
    if not free.any():
        return Filled(amounts, at, free)
    rest = total - amounts[~free].sum()
    level = float((rest - (slope[free] * offset[free]).sum()) / slope[free].sum())
    amounts[free] = np.clip(slope[free] * (level + offset[free]), lower[free], upper[free])
    return Filled(amounts, level, free)


def _last_start(slope: Floats, offset: Floats, lower: Floats, starts: Floats, total: float) -> float:
    """Without ceilings: the last breakpoint at which no more than the total is given out, by prefix sums."""
    order = np.argsort(starts)
    begun, sorted_slope = starts[order], slope[order]
    given = np.cumsum(sorted_slope) * begun + np.cumsum(sorted_slope * offset[order])
    given += lower.sum() - np.cumsum(lower[order])
    return float(begun[max(0, int(np.searchsorted(given, total, side="right")) - 1)])


def _last_breakpoint(slope: Floats, offset: Floats, lower: Floats, upper: Floats, total: float) -> float:
    """As `_last_start`, by bisection over the breakpoints: with ceilings, prefix sums would subtract slopes and lose digits."""
    breakpoints = np.concatenate((lower, upper)) / np.tile(slope, 2) - np.tile(offset, 2)
    levels = np.sort(breakpoints[np.isfinite(breakpoints)])
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if np.clip(slope * (levels[middle] + offset), lower, upper).sum() <= total:
            low = middle
        else:
            high = middle - 1
    return float(levels[low])
