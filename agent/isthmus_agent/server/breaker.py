"""Whether somebody who has failed, or who had no room, is asked again.

One who is away costs nobody his timeout each time; one who is full is left alone for as long as he says, within bounds.
"""

import random
from collections.abc import Callable
from enum import Enum
from typing import Final

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, FULL_SPREAD, LEAST_FULL_SECONDS, MOST_PAUSE_SECONDS, PAUSE_SPREAD

MOST_FAILURES: Final = 3
"""In a row, until nobody waits for an answer any more."""


class May(Enum):
    """What is allowed. TRY: asking, without anybody waiting for it."""

    ASK = "ask"
    TRY = "try"
    NOTHING = "nothing"


class Breaker:
    """Counts failures in a row. After some it pauses, then lets one try pass; each that fails makes the pause longer.

    draw: a number from 0 to 1: devices that failed at one time are not to come back at one time.
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._failures = 0
        self._tries = False
        self._until = 0.0
        self._fulls = 0
        self._full_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nobody waits for an answer."""
        return self._failures >= MOST_FAILURES

    @property
    def is_full(self) -> bool:
        """Whether the last word was that there is no room."""
        return self._fulls > 0

    def may(self, now: float) -> May:
        """What is allowed now. A try that was allowed must be followed by `well`, `failed` or `full`."""
        if now < self._full_until:
            return May.NOTHING
        if not self.is_open:
            return May.ASK
        if self._tries or now < self._until:
            return May.NOTHING
        self._tries = True
        return May.TRY

    def well(self) -> None:
        """There was an answer."""
        self._failures, self._tries, self._fulls = 0, False, 0

    def full(self, now: float, seconds: float) -> None:
        """It is there, and has no room: no failure, and nothing is asked until the pause is over, not even as a try.

        Never earlier than it said, up to half as long again by chance, and twice as long with each time in a row: those who were sent
        away together come back apart, and fewer of them at a time.

        Args:
            seconds: that it asked for; taken as LEAST_FULL_SECONDS to MOST_PAUSE_SECONDS.
        """
        self._failures, self._tries = 0, False
        if now < self._full_until:  # it was asked before the pause
            return
        self._fulls += 1
        first_seconds = min(max(seconds, LEAST_FULL_SECONDS), MOST_PAUSE_SECONDS)
        self._full_until = now + doubled_seconds(first_seconds, MOST_PAUSE_SECONDS, self._fulls) * (1 + FULL_SPREAD * self._draw())

    def failed(self, now: float, *, was_try: bool) -> None:
        """There was none. was_try: what was allowed by TRY."""
        if self.is_open and not was_try:  # it was asked before the pause
            return
        self._failures += 1
        self._tries = self._tries and not was_try
        pause_seconds = doubled_seconds(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS, self._failures - MOST_FAILURES + 1)
        self._until = now + pause_seconds * (1 + PAUSE_SPREAD * (2 * self._draw() - 1))
