"""Counting what follows what, on the device: bounded, whatever is seen and however long.

A device looks at its network and load once a step of its policy, and says here which cell that is and where requests ran. The server's
process counts, and hands over what it has counted as plain numbers (`Seeing.taken`); the manager's adds it to what it keeps (`Tally`), as
that process may end at any request. What may leave the device of the counts is `formats.experience.told`.
"""

import math
from typing import Any

from isthmus_agent.formats import numbers
from isthmus_agent.formats.experience import MOST_COUNT, MOST_COUNTS, MOST_ROWS, Experience, meaning_of, told
from isthmus_agent.formats.numbers import FormatError, integer
from isthmus_agent.formats.policy import MOST_CELLS, MOST_PLACES, Policy

_At = tuple[int, int]


class Tally:
    """How often one cell followed another, by the place in which requests ran. meaning: of the cells, see `experience.meaning_of`."""

    def __init__(self, meaning: str, device_class: str, places: int, cells: int) -> None:
        self._about = meaning, device_class, places, cells
        self._counts: dict[_At, dict[int, int]] = {}
        self._rests: dict[_At, int] = {}
        self._kept = 0

    @classmethod
    def of(cls, policy: Policy) -> "Tally":
        """An empty one of a policy's cells."""
        return cls(meaning_of(policy), policy.device_class, len(policy.places), math.prod(len(it.levels) for it in policy.dimensions))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not self._counts and not self._rests

    def is_of_same(self, other: "Tally") -> bool:
        """Whether the other one counts the same cells of the same class, so that both can be added."""
        return self._about == other._about

    def add(self, at: _At, following: int, count: int = 1) -> None:
        """A cell followed so often; more different ones than there is room for are counted together."""
        row = self._counts.get(at)
        if row is not None and following in row:
            row[following] += count
            if row[following] >= MOST_COUNT:
                self._halve(at)
        elif self._kept < 2 * MOST_COUNTS:
            self._counts.setdefault(at, {})[following] = count
            self._kept += 1
        else:
            self._add_rest(at, count)

    def add_all(self, other: "Tally") -> None:
        """What another one of the same cells has counted."""
        for at, row in other._counts.items():
            for following, count in row.items():
                self.add(at, following, count)
        for at, rest in other._rests.items():
            self._add_rest(at, rest)

    def experience(self) -> Experience:
        """What may leave the device of all that was counted."""
        return Experience(*self._about, told(self._counts, self._rests))

    def to_value(self) -> dict[str, Any]:
        """All of it, of JSON's types alone: for this device itself."""
        meaning, device_class, places, cells = self._about
        rows = [
            [*at, self._rests.get(at, 0), *(it for pair in sorted(self._counts.get(at, {}).items()) for it in pair)]
            for at in sorted({*self._counts, *self._rests})
        ]
        return {"meaning": meaning, "class": device_class, "places": places, "cells": cells, "rows": rows}

    def taken(self, most_counts: int) -> "Tally":
        """So many of the counts at most, which are none of this one's from then on."""
        found = Tally(*self._about)
        for at in [*self._counts]:
            row = self._counts[at]
            while row and found._kept < most_counts:
                found.add(at, *row.popitem())
                self._kept -= 1
            if row:
                return found
            del self._counts[at]
        for at in [*self._rests][: most_counts - found._kept]:
            found._add_rest(at, self._rests.pop(at))
        return found

    def _add_rest(self, at: _At, count: int) -> None:
        if at in self._rests or len(self._rests) < MOST_ROWS:
            self._rests[at] = min(self._rests.get(at, 0) + count, MOST_COUNT)

    def _halve(self, at: _At) -> None:
        """Keeps a row's proportions, so that no count is ever above the most that can be told."""
        row = self._counts[at]
        self._counts[at] = {cell: count // 2 for cell, count in row.items() if count > 1}
        if at in self._rests:
            self._rests[at] //= 2
        self._kept -= len(row) - len(self._counts[at])


def tally_from(value: object, where: str) -> Tally:
    """The inverse of `Tally.to_value`. Raises FormatError for everything that is none, and nothing else."""
    found = numbers.fields(value, where, ("meaning", "class", "places", "cells", "rows"))
    places = integer(found["places"], f"{where}.places", 1, MOST_PLACES)
    cells = integer(found["cells"], f"{where}.cells", 1, MOST_CELLS)
    tally = Tally(
        numbers.digest(found["meaning"], f"{where}.meaning"), numbers.device_class(found["class"], f"{where}.class"), places, cells
    )
    for index, it in enumerate(numbers.items(found["rows"], f"{where}.rows", places * cells)):
        its = f"{where}.rows[{index}]"
        row = numbers.items(it, its, 3 + 2 * cells, 3)
        if not len(row) % 2:
            raise FormatError(its, "a next cell has no count")
        at = integer(row[0], its, 0, places - 1), integer(row[1], its, 0, cells - 1)
        if rest := integer(row[2], its, 0, MOST_COUNT):
            tally._add_rest(at, rest)
        for following, count in zip(row[3::2], row[4::2], strict=True):
            tally.add(at, integer(following, its, 0, cells - 1), integer(count, its, 1, MOST_COUNT))
    return tally


class Seeing:
    """Counts of one policy's cells. When another policy cuts them otherwise (`meaning_of`), another one of these begins."""

    def __init__(self, policy: Policy) -> None:
        self._tally, self._places = Tally.of(policy), len(policy.places)
        self._cells = math.prod(len(it.levels) for it in policy.dimensions)
        self._last: _At | None = None

    def saw(self, place: int, cell: int) -> None:
        """One look: the cell, and the place in which this step's requests run. Raises ValueError where there is no such one."""
        if not (0 <= place < self._places and 0 <= cell < self._cells):
            raise ValueError(f"no place {place} or no cell {cell}")
        if self._last is not None:
            self._tally.add(self._last, cell)
        self._last = (place, cell)

    def missed(self) -> None:
        """There was no look at a step, or the device was off: what comes next followed nothing that was seen."""
        self._last = None

    def experience(self) -> Experience:
        """What may leave the device of all that was counted and not handed over."""
        return self._tally.experience()

    def taken(self, most_counts: int) -> dict[str, Any] | None:
        """What was counted since the last time, so many counts of it at most, as plain values (`Tally.to_value`). None: nothing."""
        found = self._tally.taken(most_counts)
        return None if found.is_empty else found.to_value()
