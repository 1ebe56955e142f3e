"""A device's word to its group that it is there: what it can do, and where its own streams are done.

JSON, so that people can read it on the bus. No time stands in it: whoever hears it goes by its own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import starmap
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.numbers import MOST_NUMBER, integer

MOST_PRESENCE_BYTES: Final = 32 << 10
MOST_STREAMS: Final = 64
"""That one device is the home of."""
MOST_WORK: Final = 10**12
"""Of a capacity or a stream, in units per 1000 seconds."""
_VERSION: Final = 2
_LAST: Final = MOST_NUMBER
"""The number of a last word: after all others of the same connection."""


@dataclass(frozen=True, order=True)
class Order:
    """Which of a device's words is the later one: its start, its connection since then, and its number in that."""

    start: int
    connection: int
    number: int

    @property
    def is_last(self) -> bool:
        """Whether the connection is over."""
        return self.number == _LAST


def last(start: int, connection: int) -> Order:
    """Of the word that the broker says for a device whose connection broke."""
    return Order(start, connection, _LAST)


@dataclass(frozen=True)
class Stream:
    """Requests of one kind that begin at one device. work_per_1000_seconds: what they need. owner: who does them.

    may_move: whether they may be done elsewhere at all. among: the class of those who do them, of which home is none; ANY_CLASS: whoever
    is not home; empty: anybody.
    """

    work_per_1000_seconds: int
    owner: str
    may_move: bool = True
    among: str = ""


@dataclass(frozen=True)
class Presence:
    """capacity_per_1000_seconds: units of work that the device can do for all; 0: it only asks. streams: its own, by name.

    device_class: as the fleet knows it.
    """

    order: Order
    capacity_per_1000_seconds: int = 0
    streams: Mapping[str, Stream] = field(default_factory=dict)
    device_class: str = ANY_CLASS


def encoded(presence: Presence) -> bytes:
    """The bytes of it."""
    order = presence.order
    return numbers.dump(
        {
            "version": _VERSION,
            "order": [order.start, order.connection, order.number],
            "capacity": presence.capacity_per_1000_seconds,
            "class": presence.device_class,
            "streams": {name: [it.work_per_1000_seconds, it.owner, it.may_move, it.among] for name, it in presence.streams.items()},
        }
    )


def decoded(content: bytes) -> Presence:
    """The presence in these bytes. Raises FormatError for all that is none, and nothing else."""
    found = numbers.fields(
        numbers.load(content, "a presence", MOST_PRESENCE_BYTES), "", ("version", "order", "capacity", "class", "streams")
    )
    integer(found["version"], "version", _VERSION, _VERSION)
    order = [integer(it, f"order[{index}]") for index, it in enumerate(numbers.items(found["order"], "order", 3, 3))]
    streams = found["streams"]
    if not isinstance(streams, dict) or len(streams) > MOST_STREAMS:
        raise numbers.FormatError("streams", f"expected an object with {MOST_STREAMS} streams at most")
    capacity = integer(found["capacity"], "capacity", 0, MOST_WORK)
    device_class = numbers.device_class(found["class"], "class")
    return Presence(Order(order[0], order[1], order[2]), capacity, dict(starmap(_stream, sorted(streams.items()))), device_class)


def _stream(name: str, value: object) -> tuple[str, Stream]:
    where = f"streams.{numbers.name(name, 'streams')}"
    work, owner, may_move, among = numbers.items(value, where, 4, 4)
    return name, Stream(
        integer(work, where, 0, MOST_WORK),
        numbers.device_name(owner, where),
        numbers.truth(may_move, where),
        "" if among == "" else numbers.device_class(among, where),
    )
