"""Who is there, as far as one has heard: by the moment at which a word came, on one's own clock. Clocks of others do not matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from isthmus_agent.formats.presence import Order, Presence

MOST_MEMBERS: Final = 256
REMEMBERED_EXPIRIES: Final = 10
"""For so many times the expiry the order of a silent device's words is kept: whatever is older than its last one is no news."""


@dataclass
class _Known:
    presence: Presence
    heard_at: float
    is_live: bool


class Membership:
    """What others have said. Only a word that was said now proves that a device is there; a retained one says what its last word was."""

    def __init__(self, expiry_seconds: float) -> None:
        self._expiry_seconds = expiry_seconds
        self._known: dict[str, _Known] = {}
        self.refused = 0

    def hear(self, name: str, presence: Presence, now: float, *, is_retained: bool) -> bool:
        """Takes a device's word in. Whether it has come new, or anew: what was sent to it before may not have reached it."""
        self._forget(now)
        known = self._known.get(name)
        if (known is None and len(self._known) >= MOST_MEMBERS) or (known is not None and presence.order <= known.presence.order):
            self.refused += 1
            return False
        is_live = not is_retained and not presence.order.is_last
        self._known[name] = _Known(presence, now, is_live)
        return is_live and (known is None or not known.is_live or _connection(known.presence.order) != _connection(presence.order))

    def live(self, now: float) -> Mapping[str, Presence]:
        """Those that are there, by name."""
        return {name: it.presence for name, it in sorted(self._known.items()) if it.is_live and now < it.heard_at + self._expiry_seconds}

    def expire(self, now: float) -> None:
        """Takes those for gone that have said nothing for the expiry."""
        for it in self._known.values():
            it.is_live = it.is_live and now < it.heard_at + self._expiry_seconds

    def wakes_at(self) -> float | None:
        """When `expire` is of use next: in the past where it was not called in time."""
        return min((it.heard_at + self._expiry_seconds for it in self._known.values() if it.is_live), default=None)

    def _forget(self, now: float) -> None:
        until = REMEMBERED_EXPIRIES * self._expiry_seconds
        self._known = {name: it for name, it in self._known.items() if now < it.heard_at + until}


def _connection(order: Order) -> tuple[int, int]:
    return order.start, order.connection
