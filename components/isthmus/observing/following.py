"""The log of a container, over restarts of the container and over times when nobody can be asked."""

import time
from collections.abc import Callable, Iterator

from isthmus.errors import PlatformError

PAUSE_SECONDS = 1.0
AWAY_SECONDS = 300.0
"""How long an API server or a host may be away before the log ends with an error."""

Read = Callable[[int | None, str], Iterator[str]]


def container_lines(read: Read, tail: int | None, goes_on: Callable[[], bool] | None) -> Iterator[str]:
    """The last lines (None: all), and with `goes_on` those that come, each of them once.

    Args:
        read: (tail, since) → lines as they come, each with its RFC 3339 time and a space before it; since: the time from whose
            second on; empty: from the start. What is no line of the log has an empty time, and is shown once.
        goes_on: asked when no more lines come: whether the container is still there.
    """
    last, same, away_since = "", 0, 0.0
    while True:
        again = same  # lines of the time `last` that were shown already
        try:
            for line in read(None if last else tail, last):
                stamp, _, text = line.partition(" ")
                if stamp < last:
                    continue
                if stamp == last and again:
                    again -= 1
                    continue
                same = same + 1 if stamp == last else 1
                last = stamp
                yield text
            if goes_on is None or not goes_on():
                return
            away_since = 0.0
        except PlatformError as error:
            if goes_on is None or (away_since and time.monotonic() - away_since > AWAY_SECONDS):
                raise
            if not away_since:
                away_since = time.monotonic()
                yield f"({error}; trying again)"
        time.sleep(PAUSE_SECONDS)
