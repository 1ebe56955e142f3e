"""Time that passes as fast as it is worked off."""

import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Agenda:
    """What happens when, in seconds since the beginning, which was now."""

    def __init__(self) -> None:
        self.now = 0.0
        self._began = time.time()
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def utc(self) -> datetime:
        """For what is signed: real at the beginning, and then as simulated."""
        return datetime.fromtimestamp(self._began, UTC) + timedelta(seconds=self.now)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Has something happen at a time, or now where that is past; what comes at the same time comes in the order of asking."""
        heapq.heappush(self._waiting, (max(seconds, self.now), next(self._order), what))

    def run(self, until: float) -> None:
        """Works off all that happens until a time."""
        while self._waiting and self._waiting[0][0] <= until:
            self.now, _, what = heapq.heappop(self._waiting)
            what()
        self.now = until
