"""When somebody who has no room says that there is more: `Retry-After`, read so that nothing in it does harm."""

import http
from typing import Final

from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS

RETRY_AFTER: Final = "Retry-After"
_MOST_DIGITS: Final = 9


def full_seconds(status: int, retry_after: str | None) -> float | None:
    """For how long who answers so wants to be left alone; None where that is no word of having no room.

    503 says it with `Retry-After` alone, since without one something is broken; 429 always does (RFC 6585, section 4).

    Args:
        status: of the answer. retry_after: its header (RFC 9110, section 10.2.3), None where it has none. A date is not read: clocks of
            devices are wrong too often. What is not a whole number from 0 on, a date among it, is FIRST_PAUSE_SECONDS.

    Returns:
        At most MOST_PAUSE_SECONDS.
    """
    if status != http.HTTPStatus.TOO_MANY_REQUESTS and (status != http.HTTPStatus.SERVICE_UNAVAILABLE or retry_after is None):
        return None
    text = (retry_after or "").strip()
    if not (text.isascii() and text.isdigit()):
        return FIRST_PAUSE_SECONDS
    digits = text.lstrip("0")
    return MOST_PAUSE_SECONDS if len(digits) > _MOST_DIGITS else min(float(digits or 0), MOST_PAUSE_SECONDS)
