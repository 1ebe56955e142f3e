"""Asking again while an API server is away. Requests that are asked so may be done twice: see what each caller says of its writes."""

import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import Final, TypeVar

from isthmus.apiserver.errors import ApiError, UnreachableApiError

AWAY_SECONDS: Final = 90.0
"""How long an API server may be away (an upgrade, a new leader) before a request to it fails."""
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)

_Answer = TypeVar("_Answer")


def patiently(
    ask: Callable[[], _Answer], patience_seconds: float, progress: Callable[[str], None], pause: Callable[[float], None]
) -> _Answer:
    """What `ask` returns, asked again while the server is away or overloaded. Raises the last error, and what `pause` raises."""
    start = time.monotonic()
    for pause_seconds in chain(_PAUSES_SECONDS, repeat(_PAUSES_SECONDS[-1])):
        try:
            return ask()
        except (ApiError, UnreachableApiError) as error:
            spent = time.monotonic() - start
            if not error.passes or spent + pause_seconds > patience_seconds:
                raise
            progress(f"waiting for the API server ({spent:.0f} s): {error.said}")
        pause(pause_seconds)
    raise AssertionError("the pauses never end")
