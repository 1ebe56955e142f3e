"""The frame that every plot of a page has, in the units of its drawing, and round values along its axes. Pure."""

import math
import sys
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 362
LEFT, RIGHT, TOP, BOTTOM = 52, 390, 12, 262
READOUT = 311  # base line of the first of four lines of text, the values of the mark that is pointed at
RADIUS = 6.0
MOST_TICKS = 6
NARROW = 6.0  # an axis that spans a smaller factor than this has few round numbers of a logarithmic kind
_DECADE_STEPS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,))
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM, "radius": RADIUS, "readout": READOUT}


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


def linear_ticks(low: float, high: float) -> list[float]:
    """At most `MOST_TICKS` round values in [low, high], low < high: multiples of 1, 2 or 5 times a power of ten.

    Just these two where there are next to no numbers between them.
    """
    if high - low < sys.float_info.min * MOST_TICKS:
        return [low, high]
    step = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if math.floor(high / (step * factor)) - math.ceil(low / (step * factor)) < MOST_TICKS)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """At most `MOST_TICKS` round values in [low, high], 0 < low < high, for a logarithmic axis."""
    if high / low < NARROW:
        return linear_ticks(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _DECADE_STEPS:
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= MOST_TICKS:
            break
    else:
        ticks = ticks[:: math.ceil(len(ticks) / MOST_TICKS)]
    return ticks if len(ticks) > 1 else linear_ticks(low, high)
