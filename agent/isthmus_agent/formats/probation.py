"""What a new content must show on a device, as it is signed with what a fleet is told."""

from dataclasses import dataclass
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import DAY_SECONDS, MILLION, integer

MOST_PROBATION_SECONDS: Final = 7 * DAY_SECONDS
MOST_LATENCY_MICROSECONDS: Final = 3600 * MILLION
MOST_CRASHES: Final = 1000


@dataclass(frozen=True)
class Probation:
    """What a new content must show on a device before it counts as confirmed. None: not asked.

    seconds: how long it is looked at. max_crashes: how many are still forgiven in that time.
    max_distribution_distance_millionths: how far its predictions may be distributed from those of the version before, on the same inputs.
    """

    seconds: int = 60
    max_crashes: int = 0
    max_p95_microseconds: int | None = None
    max_rss_bytes: int | None = None
    max_distribution_distance_millionths: int | None = None

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {name: value for name in _BOUNDS if (value := getattr(self, name)) is not None}


_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "seconds": (0, MOST_PROBATION_SECONDS),
    "max_crashes": (0, MOST_CRASHES),
    "max_p95_microseconds": (1, MOST_LATENCY_MICROSECONDS),
    "max_rss_bytes": (1, numbers.MOST_NUMBER),
    "max_distribution_distance_millionths": (0, MILLION),
}


def from_value(value: object, where: str) -> Probation:
    """The probation that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, where, ("seconds", "max_crashes"), _BOUNDS)
    return Probation(**{name: integer(it, f"{where}.{name}", *_BOUNDS[name]) for name, it in found.items()})
