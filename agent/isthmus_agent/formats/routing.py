"""What a device says of its routing, at ROUTING_PATH: where its requests run now and by what it measured, and what became of them.

Counts, times and levels; nothing of any request. What is read comes from whoever answers at a device's address: `read` gives a value or the
one error FormatError. Reading what was written gives the same value: `read(it.to_json()) == it`. Numbers are whole, as in all documents.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import (
    CLOUD,
    DEVICE,
    MOST_DIMENSIONS,
    MOST_DOCUMENT_BYTES,
    MOST_EDGE_THOUSANDTHS,
    MOST_PLACES,
    PEER,
    THEN_CLOUD,
    place_name,
)
from isthmus_agent.formats.report import Routed

FORMAT: Final = 1
MOST_BYTES: Final = 2 * MOST_DOCUMENT_BYTES
RECENT_SECONDS: Final = 60
"""That is recent, at the most."""

HERE, FIRST, PASSED_ON, BY_PEER, FAILED = "here", "cloud", "passed_on", "peer", "failed"
OUTCOMES: Final = (HERE, FIRST, PASSED_ON, BY_PEER, FAILED)
"""Who answered a request: the device, alone or with its group; the cloud role, which was asked first; the cloud role, as the device was
not sure or had no answer; another device; nobody. A request that is wrong in itself is none of these."""
ASKED: Final = ("asked", "answered", "refused", "full", "late", "failed", "left")
"""What the cloud role was asked, and what became of it. refused: it said that the request is wrong. late: within the time-out. left: nobody
waited for it any more, as the request's own deadline was sooner."""

NONE, CLOSED, OPEN, FULL = "none", "closed", "open", "full"
BREAKERS: Final = (NONE, CLOSED, OPEN, FULL)
"""Of the way to the cloud role. none: there is no cloud role. closed: it is asked. open: it is away, and tried now and then. full: it has
no room, and is left alone for a while."""


@dataclass(frozen=True)
class Level:
    """Of one thing that is measured. thousandths: as last measured, of `unit`; None: not measured, or without end (a cut network)."""

    name: str
    unit: str
    level: str
    thousandths: int | None = None


def thousandths(value: float | None) -> int | None:
    """A measured number in whole thousandths; None: there is none, or it has no end."""
    return None if value is None or not math.isfinite(value) else round(value * 1000)


@dataclass(frozen=True)
class Routing:
    """All of it, of one server's life.

    release: the digest of what is served. place: where requests are answered first, one of places. moves: how often it changed. levels: by
    which it was chosen, in the policy's order; none without a policy. totals, recent: requests by OUTCOMES, since the start and in the last
    recent_ms. asked: by ASKED, since the start. p50_microseconds, p95_microseconds: of answers in recent_ms, as who asks sees them; None:
    there were none. policy: its text; empty where none is followed.
    """

    release: str
    place: str
    places: tuple[str, ...]
    breaker: str = NONE
    levels: tuple[Level, ...] = ()
    moves: int = 0
    totals: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    recent: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    recent_ms: int = 0
    asked: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ASKED, 0))
    round_trip_microseconds: int | None = None
    p50_microseconds: int | None = None
    p95_microseconds: int | None = None
    policy: str = ""

    def to_json(self) -> bytes:
        """As it is answered."""
        return numbers.dump({"format": FORMAT, **asdict(self)})


PLACES: Final = (DEVICE, CLOUD, THEN_CLOUD, PEER + ANY_CLASS)
"""As reports number them: which class of peers is not told."""


def routed(it: Routing) -> Routed:
    """What reports say of it."""
    place = PLACES.index(PEER + ANY_CLASS if it.place.startswith(PEER) else it.place)
    counts = (it.totals[name] for name in OUTCOMES)
    return Routed(place, BREAKERS.index(it.breaker), it.round_trip_microseconds, *counts)


def reported(it: Routed, release: str) -> Routing:
    """What is known by a report alone. What it has beyond the numbers known here is taken for the last one of them."""
    place, breaker = (known[min(number, len(known) - 1)] for known, number in ((PLACES, it.place), (BREAKERS, it.breaker)))
    totals = dict(zip(OUTCOMES, (it.here, it.cloud, it.passed_on, it.peer, it.failed), strict=True))
    return Routing(release, place, PLACES, breaker, totals=totals, round_trip_microseconds=it.round_trip_microseconds)


_FIELDS: Final = ("format", *Routing.__dataclass_fields__)


def read(content: bytes) -> Routing:
    """The routing in an answer. Raises FormatError for every other content, and nothing else."""
    found = numbers.fields(numbers.load(content, "the routing", MOST_BYTES), "", _FIELDS)
    numbers.integer(found["format"], "format", FORMAT, FORMAT)
    listed = numbers.items(found["places"], "places", MOST_PLACES, 1)
    places = tuple(place_name(it, f"places[{index}]") for index, it in enumerate(listed))
    numbers.unique(places, "places", "place")
    levels = numbers.items(found["levels"], "levels", MOST_DIMENSIONS)
    return Routing(
        numbers.digest(found["release"], "release"),
        _one_of(found["place"], "place", places),
        places,
        _one_of(found["breaker"], "breaker", BREAKERS),
        tuple(_level(it, f"levels[{index}]") for index, it in enumerate(levels)),
        numbers.integer(found["moves"], "moves"),
        _counts(found["totals"], "totals", OUTCOMES),
        _counts(found["recent"], "recent", OUTCOMES),
        numbers.integer(found["recent_ms"], "recent_ms"),
        _counts(found["asked"], "asked", ASKED),
        _perhaps(found["round_trip_microseconds"], "round_trip_microseconds"),
        _perhaps(found["p50_microseconds"], "p50_microseconds"),
        _perhaps(found["p95_microseconds"], "p95_microseconds"),
        _policy(found["policy"]),
    )


def _level(value: object, where: str) -> Level:
    found = numbers.fields(value, where, tuple(Level.__dataclass_fields__))
    return Level(
        numbers.name(found["name"], f"{where}.name"),
        numbers.label(found["unit"], f"{where}.unit"),
        numbers.name(found["level"], f"{where}.level"),
        _perhaps(found["thousandths"], f"{where}.thousandths", -MOST_EDGE_THOUSANDTHS),
    )


def _counts(value: object, where: str, names: tuple[str, ...]) -> Mapping[str, int]:
    found = numbers.fields(value, where, names)
    return {name: numbers.integer(found[name], f"{where}.{name}") for name in names}


def _perhaps(value: object, where: str, least: int = 0) -> int | None:
    return None if value is None else numbers.integer(value, where, least)


def _policy(value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_DOCUMENT_BYTES:
        raise FormatError("policy", f"found {numbers.shown(value)}, expected a text of {MOST_DOCUMENT_BYTES} characters at most")
    return value


def _one_of(value: object, where: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise FormatError(where, f"found {numbers.shown(value)}, expected one of {', '.join(known)}")
    return str(value)
