"""The time of day at which devices may change what they serve."""

from dataclasses import dataclass
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import DAY_SECONDS, FormatError, integer

MOST_JITTER_SECONDS: Final = DAY_SECONDS
MINUTES_A_DAY: Final = 1440


@dataclass(frozen=True)
class Window:
    """When a device may change what it serves: from minute to minute of the day in UTC; over midnight where `from_minute` is the larger.

    jitter_seconds: devices spread their changes over so much of it.
    """

    from_minute: int
    to_minute: int
    jitter_seconds: int = 0

    @property
    def length_seconds(self) -> int:
        """How long it is open a day."""
        return (self.to_minute - self.from_minute) % MINUTES_A_DAY * 60

    def opens_in_seconds(self, utc_seconds: float) -> float:
        """How long it is until it opens; 0 while it is open. utc_seconds: since 1970."""
        into = self._into_day(utc_seconds)
        return 0.0 if into < self.length_seconds else DAY_SECONDS - into

    def open_between(self, start_seconds: float, end_seconds: float) -> float:
        """For how long it was open from one time to a later one, both since 1970."""
        days, rest = divmod(end_seconds - start_seconds, DAY_SECONDS)
        into = self._into_day(start_seconds)
        today = max(0.0, min(into + rest, self.length_seconds) - into)
        next_day = min(max(0.0, into + rest - DAY_SECONDS), self.length_seconds)
        return days * self.length_seconds + today + next_day

    def _into_day(self, utc_seconds: float) -> float:
        """The seconds since it opened last."""
        return (utc_seconds - self.from_minute * 60) % DAY_SECONDS

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {"from": _clock(self.from_minute), "to": _clock(self.to_minute), "jitter_seconds": self.jitter_seconds}


def from_value(value: object, where: str) -> Window:
    """The window that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, where, ("from", "to", "jitter_seconds"))
    start, end = (_minute(found[name], f"{where}.{name}") for name in ("from", "to"))
    if start == end:
        raise FormatError(where, "it opens and closes at the same minute")
    return Window(start, end, integer(found["jitter_seconds"], f"{where}.jitter_seconds", 0, MOST_JITTER_SECONDS))


def _minute(value: object, where: str) -> int:
    if isinstance(value, str) and len(value) == 5 and value.isascii() and value[2] == ":" and (value[:2] + value[3:]).isdigit():
        hour, minute = int(value[:2]), int(value[3:])
        if hour < 24 and minute < 60:
            return hour * 60 + minute
    raise FormatError(where, f"found {numbers.shown(value)}, expected a time of day in UTC, such as 01:30")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
