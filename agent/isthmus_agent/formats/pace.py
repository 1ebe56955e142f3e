"""How fast a wave goes on within itself: which minute after its opening is a device's own.

Every device has a draw of its own for it, from 0 up to WHOLE_PACE: the first 6 bytes of SHA-256 over salt, `/pace`, a zero byte and the
device's name. It has nothing to do with the draw by which waves have their devices, so that those that begin first are no others in kind.
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import MINUTE_SECONDS, FormatError, integer

WHOLE_PACE: Final = 2**48
"""The share that every device's draw is below."""
MOST_PER_MINUTE: Final = 1_000_000
MOST_PACE_MINUTES: Final = 1440
CLOCKS_SECONDS: Final = 60
"""Devices have clocks of their own, and hear of a change with their next question: so much earlier one may have begun."""


def drawn(text: str, size_bytes: int) -> int:
    """The first bytes of a text's SHA-256, as a number: the same for everybody, and by chance."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size_bytes], "big")


def pace_draw(salt: str, device: str) -> int:
    """The device's number in this rollout, from 0 up to WHOLE_PACE."""
    return drawn(f"{salt}/pace\0{device}", 6)


@dataclass(frozen=True)
class Pace:
    """At most `most_per_minute` devices of a wave begin in a minute.

    shares: rising. A device begins so many minutes after its wave was opened as there are shares that its draw is not below.
    """

    most_per_minute: int
    shares: tuple[int, ...] = ()

    @property
    def seconds(self) -> int:
        """From the opening until the last device may begin."""
        return MINUTE_SECONDS * len(self.shares)

    def later_seconds(self, drawn: int) -> int:
        """From the opening until the device with that draw may begin."""
        return MINUTE_SECONDS * bisect_right(self.shares, drawn)

    def reached(self, seconds: float) -> int:
        """The share that has begun so many seconds after the opening: draws below it have."""
        minute = max(0, int(seconds // MINUTE_SECONDS))
        return self.shares[minute] if minute < len(self.shares) else WHOLE_PACE

    def after(self, seconds: float) -> "Pace":
        """What is left of it after so many seconds: whoever may begin by then may begin at once."""
        return replace(self, shares=self.shares[max(0, int(seconds // MINUTE_SECONDS)) :])

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {"most_per_minute": self.most_per_minute, "shares": list(self.shares)}


def from_value(value: object, where: str) -> Pace:
    """The pace that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, where, ("most_per_minute", "shares"))
    listed = numbers.items(found["shares"], f"{where}.shares", MOST_PACE_MINUTES)
    shares = tuple(integer(it, f"{where}.shares[{index}]", 1, WHOLE_PACE - 1) for index, it in enumerate(listed))
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise FormatError(f"{where}.shares", "they do not rise")
    return Pace(integer(found["most_per_minute"], f"{where}.most_per_minute", 1, MOST_PER_MINUTE), shares)
