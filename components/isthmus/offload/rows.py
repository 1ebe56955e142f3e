"""What each threshold on the confidence does: how much a device passes on, how often the pair is right, and what that gains.

A request is passed on when the device's calibrated confidence is below the threshold; else the device's own answer counts. On the
evaluation data each row is a count, no model of anything.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.release.confidences import Group

_DECIMALS: Final = 7
_Z: Final = 1.959964
"""Of a normal distribution, 95 % lie within so many standard deviations."""


@dataclass(frozen=True)
class Row:
    """threshold: `min_confidence`. offloaded: of the examples. right: of all, by the pair. gained, lost: passed on and right by the cloud
    alone, or by the device alone. kept_wrong: not passed on, and answered wrong."""

    threshold: float
    examples: int
    offloaded: int
    right: int
    gained: int
    lost: int
    kept_wrong: int

    @property
    def share(self) -> float:
        """Of the requests, passed on."""
        return self.offloaded / self.examples

    @property
    def accuracy(self) -> float:
        """Share of the examples that the pair answers right."""
        return self.right / self.examples

    @property
    def gain(self) -> float:
        """In accuracy, against the device alone."""
        return (self.gained - self.lost) / self.examples

    @property
    def gain_interval(self) -> tuple[float, float]:
        """Within which the gain lies with 95 % confidence: of paired proportions, with half an example more in each of the four cells (A.
        Agresti and Y. Min, Statistics in Medicine 24, 2005), so that it is none of width 0 where no two answers differ."""
        examples = self.examples + 2
        middle, half = (self.gained - self.lost) / examples, _Z * deviation(self.gained, self.lost, self.examples)
        return max(-1.0, middle - half), min(1.0, middle + half)


def deviation(gained: int, lost: int, examples: int) -> float:
    """The standard error of a paired difference of two accuracies, smoothed as in `Row.gain_interval`.

    gained, lost: examples that the one and the other alone answers right.
    """
    differing, difference = gained + lost + 1, gained - lost
    return math.sqrt(max(0.0, differing - difference**2 / (examples + 2))) / (examples + 2)


def rows_of(groups: Sequence[Group]) -> tuple[Row, ...]:
    """A row for each threshold that tells examples apart, from none that is passed on to all but those that the device is surest of.

    groups: the least sure first; at least one, each with examples.
    """
    examples = sum(group.examples for group in groups)
    right = sum(group.both + group.edge for group in groups)
    rows = [Row(0.0, examples, 0, right, 0, 0, examples - right)]
    for before, after in itertools.pairwise(groups):
        last, threshold = rows[-1], round((before.most + after.least) / 2, _DECIMALS)
        gained, lost = last.gained + before.serving, last.lost + before.edge
        right = last.right + before.serving - before.edge
        kept_wrong = last.kept_wrong - before.serving - before.neither
        rows.append(Row(threshold, examples, last.offloaded + before.examples, right, gained, lost, kept_wrong))
    return tuple(rows)


def row_at(rows: Sequence[Row], threshold: float) -> int:
    """The index of the row that a threshold comes nearest to from below: what it passes on at the least."""
    return max(index for index, row in enumerate(rows) if row.threshold <= threshold)
