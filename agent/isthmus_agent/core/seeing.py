"""Counting what follows what, on the device: bounded, whatever is seen and however long.

A device looks at its network and load once a step of its policy, and says here which cell that is and where requests ran. What may leave it
of the counts is `formats.experience.told`.
"""

import math

from isthmus_agent.formats.experience import MOST_COUNT, MOST_COUNTS, Experience, meaning_of, told
from isthmus_agent.formats.policy import Policy

_At = tuple[int, int]


class Seeing:
    """Counts of one policy's cells. When another policy cuts them otherwise (`meaning_of`), another one of these begins."""

    def __init__(self, policy: Policy) -> None:
        self._meaning, self._class = meaning_of(policy), policy.device_class
        self._places, self._cells = len(policy.places), math.prod(len(it.levels) for it in policy.dimensions)
        self._counts: dict[_At, dict[int, int]] = {}
        self._rests: dict[_At, int] = {}
        self._kept = 0
        self._last: _At | None = None

    def saw(self, place: int, cell: int) -> None:
        """One look: the cell, and the place in which this step's requests run. Raises ValueError where there is no such one."""
        if not (0 <= place < self._places and 0 <= cell < self._cells):
            raise ValueError(f"no place {place} or no cell {cell}")
        if self._last is not None:
            self._count(self._last, cell)
        self._last = (place, cell)

    def missed(self) -> None:
        """There was no look at a step, or the device was off: what comes next followed nothing that was seen."""
        self._last = None

    def experience(self) -> Experience:
        """What may leave the device of all that was counted."""
        return Experience(self._meaning, self._class, self._places, self._cells, told(self._counts, self._rests))

    def _count(self, at: _At, cell: int) -> None:
        row = self._counts.setdefault(at, {})
        if cell in row:
            row[cell] += 1
            if row[cell] >= MOST_COUNT:
                self._halve(at)
        elif self._kept < 2 * MOST_COUNTS:
            row[cell] = 1
            self._kept += 1
        else:
            self._rests[at] = min(self._rests.get(at, 0) + 1, MOST_COUNT)

    def _halve(self, at: _At) -> None:
        """Keeps a row's proportions, so that no count is ever above the most that can be told."""
        row = self._counts[at]
        self._counts[at] = {cell: count // 2 for cell, count in row.items() if count > 1}
        self._rests[at] = self._rests.get(at, 0) // 2
        self._kept -= len(row) - len(self._counts[at])
