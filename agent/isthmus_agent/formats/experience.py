"""What a device has seen of its network and load, as the only thing of it that leaves the device: counts of transitions between cells.

A cell is a row of levels (network, load, …) that a policy file has cut: the digest of how it does (`meaning_of`) stands beside the counts,
so that they can be added to those under another table over the same cells, and to no others. There is neither a time, nor a name, nor a
request in it, and no order: a count says how often one cell followed another while requests ran in a place, over the whole span. What is
rare could tell something of one moment, and isn't told:

- a count below LEAST_COUNT is left out; what was left out of a row is told together (`rest`), unless that is fewer than LEAST_COUNT, too;
- the others are rounded to multiples of COUNT_STEP, so that none says whether one thing happened;
- none is above MOST_COUNT.

    {"cells": X, "class": C, "format": 1, "meaning": "sha256:…", "places": P,
     "rows": [[place, cell, rest, next, count, next, count, …], …]}

in the order of place and cell, within a row of the next cell. There is one way to write it. What is read comes from anybody who can write
to the store: `read` raises FormatError for all that is no such document, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from isthmus_agent.formats import digests, numbers
from isthmus_agent.formats.numbers import FormatError, integer
from isthmus_agent.formats.policy import MOST_CELLS, MOST_PLACES, Policy

FORMAT: Final = 1
LEAST_COUNT: Final = 10
COUNT_STEP: Final = 5
MOST_COUNT: Final = 1_000_000
MOST_COUNTS: Final = 8192
"""Told by one device, all rows together; with ninety cells and one place nothing is left out for it."""
MOST_ROWS: Final = 8192
MOST_BYTES: Final = 320 << 10


@dataclass(frozen=True)
class Row:
    """What followed one cell while requests ran in one place.

    rest: how often a cell followed that isn't told. counts: next cell → how often.
    """

    rest: int = 0
    counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How often anything followed."""
        return self.rest + sum(self.counts.values())


@dataclass(frozen=True)
class Experience:
    """meaning: the digest of what the cells are. places, cells: how many it has. rows: (place, cell) → what followed."""

    meaning: str
    device_class: str
    places: int
    cells: int
    rows: Mapping[tuple[int, int], Row]

    def written(self) -> bytes:
        """The document. What `told` has made fits into MOST_BYTES."""
        rows = [[*at, row.rest, *(it for pair in sorted(row.counts.items()) for it in pair)] for at, row in sorted(self.rows.items())]
        return numbers.dump(
            {
                "format": FORMAT,
                "meaning": self.meaning,
                "class": self.device_class,
                "places": self.places,
                "cells": self.cells,
                "rows": rows,
            }
        )


def meaning_of(policy: Policy) -> str:
    """The digest of what a policy's cells are, and of how long a step is. Where requests may run is not part of it: how one cell follows
    another does not depend on that."""
    dimensions = [[it.name, it.unit, list(it.levels), list(it.edges), it.band] for it in policy.dimensions]
    return digests.of(numbers.dump([dimensions, policy.step_ms]))


def told(counts: Mapping[tuple[int, int], Mapping[int, int]], rests: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], Row]:
    """The rows as they may leave a device.

    counts: (place, cell) → next cell → how often it followed. rests: (place, cell) → how often another one did, which was not kept apart.
    """
    largest = sorted(((count, at, to) for at, row in counts.items() for to, count in row.items() if count >= LEAST_COUNT), reverse=True)
    kept: dict[tuple[int, int], dict[int, int]] = {}
    for count, at, to in largest[:MOST_COUNTS]:
        kept.setdefault(at, {})[to] = count
    found = {}
    for at in sorted({*counts, *rests}):
        row = kept.get(at, {})
        rest = rests.get(at, 0) + sum(counts.get(at, {}).values()) - sum(row.values())
        it = Row(_rounded(rest), {to: _rounded(count) for to, count in sorted(row.items())})
        if it.total:
            found[at] = it
    largest_rows = sorted(found, key=lambda at: (found[at].total, at), reverse=True)[:MOST_ROWS]
    return {at: found[at] for at in sorted(largest_rows)}


def _rounded(count: int) -> int:
    if count < LEAST_COUNT:
        return 0
    return min((count + COUNT_STEP // 2) // COUNT_STEP * COUNT_STEP, MOST_COUNT)


def read(content: bytes) -> Experience:
    """The experience that a document holds. Raises FormatError for everything that is none, and nothing else."""
    value = numbers.load(content, "the experience", MOST_BYTES)
    found = numbers.fields(value, "", ("format", "meaning", "class", "places", "cells", "rows"))
    integer(found["format"], "format", FORMAT, FORMAT)
    places = integer(found["places"], "places", 1, MOST_PLACES)
    cells = integer(found["cells"], "cells", 1, MOST_CELLS)
    listed = numbers.items(found["rows"], "rows", min(places * cells, MOST_ROWS))
    rows = dict(_row(it, f"rows[{index}]", places, cells) for index, it in enumerate(listed))
    experience = Experience(numbers.digest(found["meaning"], "meaning"), numbers.device_class(found["class"], "class"), places, cells, rows)
    if sum(len(row.counts) for row in rows.values()) > MOST_COUNTS:
        raise FormatError("rows", f"expected {MOST_COUNTS} counts at most")
    if experience.written() != content:
        raise FormatError("", "the experience isn't written in the one way that there is")
    return experience


def _row(value: object, where: str, places: int, cells: int) -> tuple[tuple[int, int], Row]:
    listed = numbers.items(value, where, 3 + 2 * cells, 3)
    at = (integer(listed[0], f"{where}[0]", 0, places - 1), integer(listed[1], f"{where}[1]", 0, cells - 1))
    pairs = listed[3:]
    if len(pairs) % 2:
        raise FormatError(where, "a next cell has no count")
    following = [integer(it, f"{where}[{3 + 2 * index}]", 0, cells - 1) for index, it in enumerate(pairs[::2])]
    counts = [_count(it, f"{where}[{4 + 2 * index}]") for index, it in enumerate(pairs[1::2])]
    rest = _count(listed[2], f"{where}[2]") if listed[2] != 0 else integer(listed[2], f"{where}[2]")
    if not rest and not counts:
        raise FormatError(where, "nothing followed")
    return at, Row(rest, dict(zip(following, counts, strict=True)))


def _count(value: object, where: str) -> int:
    count = integer(value, where, LEAST_COUNT, MOST_COUNT)
    if count % COUNT_STEP:
        raise FormatError(where, f"found {count}, expected a multiple of {COUNT_STEP}")
    return count
