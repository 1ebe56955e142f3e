"""The scale of every channel with the least squared error: min over s of Σ(w − s·code)², codes in [−levels, levels].

Between two steps of 1/s at which some code changes, the codes stay, and the best s for them is A/B with A = Σ|w|·code and
B = Σcode²; it leaves an error of Σw² − A²/B. So the optimum is among finitely many candidates, and walking along the steps
|w|·t = code − ½ with t = 1/s visits them all. There are up to `levels` steps a weight, too many to sort; what is provably
not optimal is left out first:

- Below t = (levels/2)/max|w| all codes are at most half of the largest: half the scale gives at least the same.
- Beyond the t at which the clipped part of the largest weights alone costs more than the best error known, nothing is better.
- In between, G(t) = Σ(w·t − code)² is W·t² (W = Σw²) plus a concave function, as it is a minimum over codes of functions
  that are linear in t. A concave function lies above its chords, so between two points where G is known, it is at least
  their chord less W·(t − t₀)·(t₁ − t). Intervals whose bound G/t² is above the best error known are dropped, the others
  are split, and the few that are left are walked step by step.

The bounds are computed in float32 and compared with a margin for it; the walk is in float64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

BLOCK_WEIGHTS = 1 << 17  # three float32 arrays of this size nearly stay in a core's cache
GRID_STEPS = 8.0  # first intervals: this / levels wide, relative to the t that just covers the largest weight
HALVINGS = 7
MARGIN = 1e-4  # float32 sums are good to some 1e-6
FLOAT32_STEP = 2.0**-23


def best_scales(weights: NDArray[np.floating], levels: int) -> Floats:
    """The optimal scale of every channel.

    Args:
        weights: [channels, n], finite.
        levels: the largest code, 127 at 8 bits and 7 at 4.

    Returns:
        [channels], all > 0. A channel of zeros, for which every scale is exact, gets the largest of the others (1 if there are none):
        kernels refuse a scale of 0, and one far from the others may be beyond what they can fold into a product.

    Raises:
        ValueError: a weight is not finite.
    """
    channels, n = weights.shape
    scales = np.zeros(channels)
    rows_per_block = max(1, BLOCK_WEIGHTS // max(n, 1))
    for start in range(0, channels if n else 0, rows_per_block):
        magnitudes = np.abs(weights[start : start + rows_per_block].astype(np.float64))
        largest = magnitudes.max(axis=1)
        if not np.isfinite(largest).all():
            raise ValueError("weights that are not finite")
        used = np.flatnonzero(largest)
        if used.size:
            unit = largest[used] / levels
            scales[start + used] = unit * _Block(magnitudes[used] / unit[:, None], levels).best_scales()
    scales[scales == 0] = scales.max(initial=0) or 1.0
    return scales


def min_max_scales(weights: NDArray[np.floating], levels: int) -> Floats:
    """Scales that just cover the largest weight: [channels], all > 0."""
    largest = np.abs(weights).max(axis=1, initial=0).astype(np.float64)
    return np.asarray(np.where(largest > 0, largest, levels) / levels)


@dataclass
class _Intervals:
    """Stretches of t, each of one row, with G at both ends."""

    row: Rows
    low: Floats
    high: Floats
    error_low: Floats
    error_high: Floats

    def __getitem__(self, index: NDArray[np.generic]) -> "_Intervals":
        return _Intervals(self.row[index], self.low[index], self.high[index], self.error_low[index], self.error_high[index])


class _Block:
    """Some channels. magnitudes: [rows, n], the largest of each row is `levels`, so that t = 1 just covers it."""

    def __init__(self, magnitudes: Floats, levels: int) -> None:
        self.exact = magnitudes
        self.levels = levels
        self.rough = magnitudes.astype(np.float32)
        self.squares = np.einsum("ij,ij->i", magnitudes, magnitudes)
        self.best = np.full(len(magnitudes), np.inf)  # the least known error in units of the scale at t = 1
        self.noise = magnitudes.shape[1] * (4 * levels * FLOAT32_STEP) ** 2  # where the error is 0, float32 does not quite see it
        self.everything = np.arange(len(magnitudes))
        self.u, self.k = np.empty((2, max(BLOCK_WEIGHTS, magnitudes.shape[1])), np.float32)

    def best_scales(self) -> Floats:
        intervals = self._unpruned(self._grid())
        for _ in range(HALVINGS):
            intervals = self._unpruned(self._halved(intervals))
        return self._walk(_merged(intervals))

    def _errors(self, rows: Rows, t: Floats) -> Floats:
        """G for pairs of a row and a t. Notes the least error."""
        n = self.rough.shape[1]
        pairs = max(1, BLOCK_WEIGHTS // n)
        errors = np.empty(len(rows))
        for start in range(0, len(rows), pairs):
            part = slice(start, start + pairs)
            size = len(rows[part])
            u, k = (scratch[: size * n].reshape(size, n) for scratch in (self.u, self.k))
            factor = t[part, None].astype(np.float32)
            if rows is self.everything:  # no copy needed
                np.multiply(self.rough[part], factor, out=u)
            else:
                np.take(self.rough, rows[part], axis=0, out=u, mode="clip")
                u *= factor
            np.rint(u, out=k)
            np.minimum(k, self.levels, out=k)
            u -= k
            errors[part] = np.einsum("ij,ij->i", u, u)
        np.minimum.at(self.best, rows, errors / t**2)
        return errors

    def _bar(self, rows: Rows) -> Floats:
        """What a bound must be above for its interval to be dropped."""
        return np.asarray(self.best[rows] * (1 + MARGIN) + self.noise)

    def _clipped(self, rows: Rows, t: float) -> Floats:
        """The error of the weights beyond the largest code alone: a lower bound of the error for this and every larger t."""
        over = np.maximum(self.rough[rows] - np.float32(self.levels / t), 0)
        return np.asarray(np.einsum("ij,ij->i", over, over, dtype=np.float64))

    def _grid(self) -> _Intervals:
        """All t between half the codes and too much clipped."""
        step = GRID_STEPS / self.levels
        rows = self.everything
        low = np.full(len(rows), (self.levels // 2 + 0.5) / self.levels)
        error_low = self._errors(rows, low)
        found: list[_Intervals] = []
        while rows.size:
            width = step * max(1.0, low[0])
            high = low + (width if low[0] >= 1 else min(width, 1 - low[0]))
            error_high = self._errors(rows, high)
            found.append(_Intervals(rows, low, high, error_low, error_high))
            open_ = np.full(len(rows), True)
            if high[0] >= 1:
                open_ = self._clipped(rows, high[0]) < self._bar(rows)
            low, error_low = high[open_], error_high[open_]
            rows = rows if open_.all() else rows[open_]
        return _Intervals(*(np.concatenate([getattr(part, name) for part in found]) for name in _Intervals.__annotations__))

    def _unpruned(self, these: _Intervals) -> _Intervals:
        """Those in which the least error may be."""
        width = these.high - these.low
        sag = self.squares[these.row] * width**2
        slope = these.error_high - these.error_low - sag
        # (error_low + slope·x + sag·x²) / (low + width·x)² has one extremum; if it is a maximum, the ends are the minima.
        with np.errstate(divide="ignore", invalid="ignore"):
            x = (2 * width * these.error_low - slope * these.low) / (2 * sag * these.low - slope * width)
        x = np.clip(np.nan_to_num(x), 0, 1)
        inside = (these.error_low + slope * x + sag * x**2) / (these.low + width * x) ** 2
        bound = np.minimum(inside, np.minimum(these.error_low / these.low**2, these.error_high / these.high**2))
        return these[bound <= self._bar(these.row)]

    def _halved(self, these: _Intervals) -> _Intervals:
        middle = (these.low + these.high) / 2
        error = self._errors(these.row, middle)
        return _Intervals(
            np.tile(these.row, 2),
            np.concatenate([these.low, middle]),
            np.concatenate([middle, these.high]),
            np.concatenate([these.error_low, error]),
            np.concatenate([error, these.error_high]),
        )

    def _walk(self, these: _Intervals) -> Floats:
        """The best scale of every row, in units of the scale at t = 1: every change of a code in the intervals is tried."""
        n = self.exact.shape[1]
        pairs = max(1, BLOCK_WEIGHTS // n)
        gains, scales = np.empty(len(these.row)), np.empty(len(these.row))
        for start in range(0, len(these.row), pairs):
            part = slice(start, start + pairs)
            gains[part], scales[part] = self._walk_some(these.row[part], these.low[part], these.high[part])
        order = np.lexsort((-gains, these.row))
        _, first = np.unique(these.row[order], return_index=True)
        return np.asarray(scales[order][first])

    def _walk_some(self, rows: Rows, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The largest A²/B in each interval, and its A/B."""
        x = self.exact[rows]
        at_low = np.minimum(np.rint(x * low[:, None]), self.levels)
        at_high = np.minimum(np.rint(x * high[:, None]), self.levels)
        changes = (at_high - at_low).astype(np.intp).ravel()
        moved = np.repeat(np.arange(x.size), changes)
        nth = np.arange(len(moved)) - np.repeat(np.cumsum(changes) - changes, changes)
        weight, code = x.ravel()[moved], at_low.ravel()[moved] + nth
        interval = moved // x.shape[1]
        # One sort for all: intervals are kept apart by their number, t within the interval by the fraction.
        order = np.argsort(interval + np.clip(((code + 0.5) / weight - low[interval]) / (high - low)[interval], 0, 1 - 1e-6))
        steps = np.bincount(interval, minlength=len(rows))
        begin = np.cumsum(steps + 1) - (steps + 1)  # each interval's first element is the codes at its low end
        a, b = np.zeros((2, len(moved) + len(rows)))
        later = np.ones(len(a), bool)
        later[begin] = False
        a[later], b[later] = weight[order], 2 * code[order] + 1
        a[begin], b[begin] = np.einsum("ij,ij->i", x, at_low), np.einsum("ij,ij->i", at_low, at_low)
        segment = np.repeat(np.arange(len(rows)), steps + 1)
        for values in (a, b):
            ends = np.add.reduceat(values, begin)
            values[begin[1:]] -= ends[:-1]
            np.cumsum(values, out=values)
        gain = a * a / b
        best = np.maximum.reduceat(gain, begin)
        first = np.flatnonzero(gain == best[segment])
        _, chosen = np.unique(segment[first], return_index=True)
        index = first[chosen]
        return gain[index], a[index] / b[index]


def _merged(these: _Intervals) -> _Intervals:
    """Neighbours joined."""
    these = these[np.lexsort((these.low, these.row))]
    begins = np.ones(len(these.row), bool)
    begins[1:] = (these.row[1:] != these.row[:-1]) | (these.low[1:] > these.high[:-1])
    begin = np.flatnonzero(begins)
    end = np.append(begin[1:], len(these.row)) - 1
    return _Intervals(these.row[begin], these.low[begin], these.high[end], these.error_low[begin], these.error_high[end])
