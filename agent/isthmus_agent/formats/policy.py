"""The migration policy on a device: where to serve next, from where it serves now and what it has measured.

A table of places by (place, cell), solved before it was signed. The cell is the product of the dimensions' levels, the last dimension
fastest; a level is where a measured number lies among the dimension's edges. A policy is made for one release, whose digest it holds: its
times are that release's, and a reader asks for it by that digest. Reading what was written gives the same value, and there is one way to
write a value: `from_json(it.to_json(), it.release) == it`, and bytes that are not `to_json()` of what they say are refused.

Numbers are whole thousandths of their unit, as signed documents know no fractions.

A policy that knows the place THEN_CLOUD says when a device passes on what it is not sure of, and is of FORMAT 2; one that does not know it
says nothing about that, and is of FORMAT 1, as all were before there was such a place. A device that knows no FORMAT 2 refuses the former.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError

FORMAT: Final = 1
FORMAT_OF_THEN_CLOUD: Final = 2
MOST_DOCUMENT_BYTES: Final = 1 << 18
MOST_PLACES: Final = 64
MOST_DIMENSIONS: Final = 4
MOST_LEVELS: Final = 32
MOST_CELLS: Final = 512
MOST_EDGE_THOUSANDTHS: Final = 10**12
MOST_STEP_MS: Final = numbers.DAY_SECONDS * 1000
DEVICE: Final = "device"
THEN_CLOUD: Final = "device_then_cloud"
"""The device, and then the cloud for what the device is not sure of. Beside it DEVICE is the device, and nobody asked."""
CLOUD: Final = "cloud"
PEER: Final = "peer:"
"""What begins the name of a place that is a class of peers; the others are DEVICE, THEN_CLOUD and CLOUD."""
NETWORK: Final = "network"
"""The dimension of the round trip to the cloud role, in ms."""
LOAD: Final = "load"
"""The dimension of what the device itself is asked, in requests per second."""
_OWN_PLACES: Final = (DEVICE, THEN_CLOUD, CLOUD)
_SIGNS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""A place's number as one character of the table."""
_NUMBER_OF: Final = {sign: number for number, sign in enumerate(_SIGNS)}


@dataclass(frozen=True)
class Measured:
    """One thing that is measured, cut into levels.

    edges: where a level ends and the next begins, one fewer than levels, rising; a value on an edge is of the upper level. band: so far
    beyond an edge a value must be to leave its level, so that noise on an edge moves nothing. Both in thousandths of `unit`.
    unmeasured: the level to assume until something was measured.
    """

    name: str
    unit: str
    levels: tuple[str, ...]
    edges: tuple[int, ...]
    band: int = 0
    unmeasured: int = 0

    def level(self, before: int, value: float) -> int:
        """The level of a value, in the unit itself. before: the level until now, which a value that is not a number leaves as it is."""
        if math.isnan(value):
            return before
        thousandths = value * 1000
        found = bisect_right(self.edges, thousandths)
        if found > before:
            found = max(before, bisect_right(self.edges, thousandths - self.band))
        elif found < before:
            found = min(before, bisect_right(self.edges, thousandths + self.band))
        return found


@dataclass(frozen=True)
class Policy:
    """A policy. table: for each place in turn, the place to be in for each cell, by its number. step_ms: between two looks at it."""

    release: str
    device_class: str
    places: tuple[str, ...]
    dimensions: tuple[Measured, ...]
    table: tuple[int, ...]
    step_ms: int
    _cells: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cells", math.prod(len(it.levels) for it in self.dimensions))

    @property
    def format(self) -> int:
        """Of its document."""
        return FORMAT_OF_THEN_CLOUD if THEN_CLOUD in self.places else FORMAT

    def passes_on(self, place: str) -> bool:
        """Whether a device in this place passes on what it is not sure of, as it does where a policy does not know THEN_CLOUD."""
        return place == THEN_CLOUD or THEN_CLOUD not in self.places

    @property
    def unmeasured(self) -> tuple[int, ...]:
        """The levels to begin with."""
        return tuple(it.unmeasured for it in self.dimensions)

    def levels(self, before: Sequence[int], measured: Mapping[str, float]) -> tuple[int, ...]:
        """The levels now, one for each dimension. measured: numbers by the dimensions' names; one that is missing stays as it was.

        infinity is a number: of a round trip that never ends, say.
        """
        return tuple(
            dimension.level(level, measured.get(dimension.name, math.nan)) for dimension, level in zip(self.dimensions, before, strict=True)
        )

    def next_place(self, place: int, levels: Sequence[int]) -> int:
        """The number of the place to be in, from the number of the one where it is."""
        cell = 0
        for dimension, level in zip(self.dimensions, levels, strict=True):
            cell = cell * len(dimension.levels) + level
        return self.table[place * self._cells + cell]

    def to_json(self) -> bytes:
        """The one way to write it."""
        return numbers.dump(
            {
                "format": self.format,
                "release": self.release,
                "class": self.device_class,
                "places": list(self.places),
                "dimensions": [
                    {
                        "name": it.name,
                        "unit": it.unit,
                        "levels": list(it.levels),
                        "edges": list(it.edges),
                        "band": it.band,
                        "unmeasured": it.unmeasured,
                    }
                    for it in self.dimensions
                ],
                "table": "".join(_SIGNS[it] for it in self.table),
                "step_ms": self.step_ms,
            }
        )


_FIELDS: Final = ("format", "release", "class", "places", "dimensions", "table", "step_ms")
_DIMENSION_FIELDS: Final = ("name", "unit", "levels", "edges", "band", "unmeasured")


def from_json(content: bytes, release: str) -> Policy:
    """The policy in a document, for this release (its digest). Raises FormatError for every other content, and nothing else."""
    document = numbers.load(content, "the policy", MOST_DOCUMENT_BYTES)
    found = numbers.fields(document, "", _FIELDS)
    numbers.integer(found["format"], "format", FORMAT, FORMAT_OF_THEN_CLOUD)
    made_for = numbers.digest(found["release"], "release")
    if made_for != release:
        raise FormatError("release", f"the policy was made for {made_for}, not for {numbers.shown(release)}")
    listed = numbers.items(found["places"], "places", MOST_PLACES, 1)
    places = tuple(_place(it, f"places[{index}]") for index, it in enumerate(listed))
    numbers.unique(places, "places", "place")
    listed = numbers.items(found["dimensions"], "dimensions", MOST_DIMENSIONS)
    dimensions = tuple(_dimension(it, f"dimensions[{index}]") for index, it in enumerate(listed))
    numbers.unique([it.name for it in dimensions], "dimensions", "name")
    cells = math.prod(len(it.levels) for it in dimensions)
    if cells > MOST_CELLS:
        raise FormatError("dimensions", f"they make {cells} cells, expected {MOST_CELLS} at most")
    policy = Policy(
        made_for,
        numbers.device_class(found["class"], "class"),
        places,
        dimensions,
        _table(found["table"], len(places), cells),
        numbers.integer(found["step_ms"], "step_ms", 1, MOST_STEP_MS),
    )
    if found["format"] != policy.format:
        raise FormatError("format", f"found {found['format']}, expected {policy.format} with places {', '.join(places)}")
    if policy.to_json() != content:
        raise FormatError("", "the policy is not written in the one way that there is")
    return policy


def _place(value: object, where: str) -> str:
    if isinstance(value, str) and value.startswith(PEER):
        return PEER + numbers.device_class(value[len(PEER) :], where)
    if value not in _OWN_PLACES:
        raise FormatError(where, f"found {numbers.shown(value)}, expected device, {THEN_CLOUD}, cloud or {PEER}CLASS")
    return str(value)


def _dimension(value: object, where: str) -> Measured:
    found = numbers.fields(value, where, _DIMENSION_FIELDS)
    listed = numbers.items(found["levels"], f"{where}.levels", MOST_LEVELS, 1)
    levels = tuple(numbers.name(it, f"{where}.levels[{index}]") for index, it in enumerate(listed))
    numbers.unique(levels, f"{where}.levels", "level")
    listed = numbers.items(found["edges"], f"{where}.edges", len(levels) - 1, len(levels) - 1)
    bound = MOST_EDGE_THOUSANDTHS
    edges = tuple(numbers.integer(it, f"{where}.edges[{index}]", -bound, bound) for index, it in enumerate(listed))
    if any(lower >= upper for lower, upper in itertools.pairwise(edges)):
        raise FormatError(f"{where}.edges", "expected numbers that rise")
    return Measured(
        numbers.name(found["name"], f"{where}.name"),
        numbers.label(found["unit"], f"{where}.unit"),
        levels,
        edges,
        numbers.integer(found["band"], f"{where}.band", 0, bound),
        numbers.integer(found["unmeasured"], f"{where}.unmeasured", 0, len(levels) - 1),
    )


def _table(value: object, places: int, cells: int) -> tuple[int, ...]:
    if not isinstance(value, str) or len(value) != places * cells:
        found = f"{len(value)} characters" if isinstance(value, str) else numbers.shown(value)
        raise FormatError("table", f"found {found}, expected {places * cells}, one for each place and cell")
    table = tuple(_NUMBER_OF.get(sign, places) for sign in value)
    if max(table) >= places:
        raise FormatError("table", f"it names place {max(table)} of {places}")
    return table
