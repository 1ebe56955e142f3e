"""What a router's looks tell of how cells follow each other, counted; see `core.seeing`.

A look counts where it came one step after the one before it, and every level was measured: a transition that spans several steps is none
of the process's, and a level that is only assumed would be learned as one that never changes.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from isthmus_agent.core.seeing import Seeing
from isthmus_agent.formats.policy import Policy

MOST_STEPS_BETWEEN: Final = 1.5
"""Between two looks, so that the later one counts as the next step: they come with requests, and so later than they are due."""
MOST_TAKEN: Final = 400
"""Counts in one message to the manager, of 34 bytes each at most: `channel.MOST_MESSAGE_BYTES` has room for them and the other figures."""


class Looks:
    """The looks at one policy's table since the server's start."""

    def __init__(self, policy: Policy) -> None:
        self._seeing = Seeing(policy)
        self._unmeasured = {it.name for it in policy.dimensions}
        self._most_seconds = MOST_STEPS_BETWEEN * policy.step_ms / 1000
        self._last_at = -math.inf

    def looked(self, now: float, measured: Mapping[str, float], place: int, cell: int) -> None:
        """A look. measured: what was measured for it, by dimension; not a number: nothing was. place: where requests run from now on."""
        if self._unmeasured:
            self._unmeasured -= {name for name, value in measured.items() if not math.isnan(value)}
        if self._unmeasured or now - self._last_at > self._most_seconds:
            self._seeing.missed()
        if not self._unmeasured:
            self._seeing.saw(place, cell)
        self._last_at = now

    def taken(self) -> dict[str, Any] | None:
        """What was counted since the last time. None: nothing."""
        return self._seeing.taken(MOST_TAKEN)
