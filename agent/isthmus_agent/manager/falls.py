"""How often contents fell over, and so when each may be started again."""

import time
from typing import Final

from isthmus_agent.core.backoff import doubled_seconds

_MOST_REMEMBERED: Final = 8


class Falls:
    """Of each content, how often in a row, and when last. first_backoff_seconds, most_backoff_seconds: see `serving.Settings`."""

    def __init__(self, first_backoff_seconds: float, most_backoff_seconds: float) -> None:
        self._first_seconds, self._most_seconds = first_backoff_seconds, most_backoff_seconds
        self._falls: dict[str, tuple[int, float]] = {}
        self._began: dict[str, float] = {}

    def began(self, digest: str) -> None:
        """It serves from now on."""
        self._began[digest] = time.monotonic()

    def fell(self, digest: str) -> None:
        """It fell over just now."""
        now = time.monotonic()
        times = self._falls.get(digest, (0, 0.0))[0]
        ran_seconds = now - self._began.pop(digest, now)
        self._falls.pop(digest, None)
        self._falls[digest] = (1 if ran_seconds >= self._most_seconds else times + 1, now)
        while len(self._falls) > _MOST_REMEMBERED:
            del self._falls[next(iter(self._falls))]

    def due(self, digest: str) -> float:
        """When it may be started: at once the first time, and later the more often it fell over."""
        times, last = self._falls.get(digest, (0, 0.0))
        wait = doubled_seconds(self._first_seconds, self._most_seconds, times - 1) if times > 1 else 0.0
        return last + wait
