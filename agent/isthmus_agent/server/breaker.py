"""Whether somebody who has failed is asked again, so that one who is away costs nobody his timeout each time."""

import random
from collections.abc import Callable
from enum import Enum
from typing import Final

from isthmus_agent.core.backoff import doubled_seconds

MOST_FAILURES: Final = 3
"""In a row, until nobody waits for an answer any more."""
FIRST_PAUSE_SECONDS: Final = 5.0
MOST_PAUSE_SECONDS: Final = 60.0


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

    @property
    def is_open(self) -> bool:
        """Whether nobody waits for an answer."""
        return self._failures >= MOST_FAILURES

    def may(self, now: float) -> May:
        """What is allowed now. A try that was allowed must be followed by `well` or `failed`."""
        if not self.is_open:
            return May.ASK
        if self._tries or now < self._until:
            return May.NOTHING
        self._tries = True
        return May.TRY

    def well(self) -> None:
        """There was an answer."""
        self._failures, self._tries = 0, False

    def failed(self, now: float, *, was_try: bool) -> None:
        """There was none. was_try: what was allowed by TRY."""
        if self.is_open and not was_try:  # it was asked before the pause
            return
        self._failures += 1
        self._tries = self._tries and not was_try
        pause_seconds = doubled_seconds(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS, self._failures - MOST_FAILURES + 1)
        self._until = now + pause_seconds * (0.75 + 0.5 * self._draw())
