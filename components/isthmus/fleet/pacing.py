"""The pace of a wave: at most so many of its devices begin in a minute. Pure.

Draws come by chance, and evenly over a time they would crowd: for 100 devices of which no two may begin in the same minute it would have to
be a week. So the shares that are signed are those at which so many devices have begun: no minute has more, and none but the last has
fewer, but for devices of the same draw (one pair in 2**48).
"""

import math
from collections.abc import Sequence

from isthmus.errors import Problem
from isthmus_agent.formats.pace import MOST_PACE_MINUTES, Pace


def pace_of(draws: Sequence[int], most_per_minute: int) -> Pace:
    """By which devices with these draws begin in as few minutes as there can be."""
    rising = sorted(draws)
    shares, first = [], 0
    while len(rising) - first > most_per_minute:
        end = first + most_per_minute
        while end > first and rising[end] == rising[end - 1]:
            end -= 1
        if end == first:  # more of one draw than may begin in a minute: they cannot be told apart
            end = next((it for it in range(first, len(rising)) if rising[it] != rising[first]), len(rising))
        if end < len(rising):
            shares.append(rising[end])
        first = end
    return Pace(most_per_minute, tuple(shares))


def pace_problems(devices: int, pace: Pace | None, where: str) -> list[Problem]:
    """What is wrong with the pace of a wave of so many devices."""
    if pace is None or len(pace.shares) <= MOST_PACE_MINUTES:
        return []
    what = f"{devices:,} devices take {len(pace.shares) + 1:,} minutes, and a wave's begin within a day"
    least = math.ceil(devices / MOST_PACE_MINUTES)
    return [Problem(where, what, f"{least:,} or more for so many devices", "raise it, or make more waves of this one")]
