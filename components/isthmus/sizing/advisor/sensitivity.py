"""What would change the advisor's answer: for each input, up and down, the smallest change that brings another mode.

Nothing here knows a rule of the advisor: it only asks `choose`. From the present value it walks outwards in steps that grow
geometrically, up to the input's limit; where the mode has changed it bisects, and rounds outwards to `DIGITS` significant
digits. A mode that comes and goes again within one step (a quarter of the distance walked) would be missed.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from isthmus.sizing.advisor.advice import choose
from isthmus.sizing.advisor.inputs import INPUTS, Situation, check_situation
from isthmus.sizing.advisor.requirements import Mode

DIGITS = 4
# Outwards: the first distance relative to the value (to the input's whole range where the value is 0), and its growth.
_FIRST_STEP = 1e-4
_FIRST_STEP_FROM_ZERO = 1e-10
_GROWTH = 1.25
_BISECTIONS = 80


@dataclass(frozen=True)
class Flip:
    """Setting the input `name` to `becomes` makes the mode `mode`; one unit of the fourth digit less does not change it.

    mode: None where no mode fits any more. relative: |becomes − now| / |now|; None where now is 0, or yes or no.
    """

    name: str
    now: float | bool
    becomes: float | bool
    mode: Mode | None
    relative: float | None

    def __str__(self) -> str:
        if isinstance(self.now, bool):
            change = f"{_yes(self.now)} → {_yes(bool(self.becomes))}"
        else:
            change = f"{self.now:,.15g} → {self.becomes:,.15g}"
        return f"{self.name} {change}: {self.mode or 'no mode fits'}"


def flips(situation: Situation) -> list[Flip]:
    """Every single input that can change the mode by itself, the smallest relative change first.

    Raises:
        InputError: bad inputs; all of them at once.
    """
    check_situation(situation)
    now = choose(situation)
    found = []
    for name, each in INPUTS.items():
        value = getattr(situation, name)
        if value is None:
            continue

        def mode_at(x: float, name: str = name, whole: bool = each.metadata.get("whole", False)) -> Mode | None:
            changed: dict[str, Any] = {name: round(x) if whole else x}
            return choose(dataclasses.replace(situation, **changed))

        if isinstance(value, bool):
            if mode_at(not value) != now:
                found.append(Flip(name, value, not value, mode_at(not value), None))
            continue
        for limit in (each.metadata["least"], each.metadata["most"]):
            becomes = _first_change(mode_at, value, limit, whole=each.metadata["whole"])
            if becomes is not None:
                relative = abs(becomes - value) / abs(value) if value else None
                found.append(Flip(name, value, becomes, mode_at(becomes), relative))
    return sorted(found, key=lambda flip: math.inf if flip.relative is None else flip.relative)


def _first_change(mode_at: Callable[[float], Mode | None], start: float, limit: float, *, whole: bool) -> float | None:
    """The rounded value nearest to `start`, on the way to `limit`, at which the mode is another; None: there is none."""
    now, same = mode_at(start), start
    for x in _outwards(start, limit):
        if mode_at(x) != now:
            changed = x
            break
        same = x
    else:
        return None
    for _ in range(_BISECTIONS):
        middle = (same + changed) / 2
        if middle in (same, changed):
            break
        if mode_at(middle) == now:
            same = middle
        else:
            changed = middle
    for candidate in _rounded_outwards(same, changed, start, limit, whole=whole):
        if mode_at(candidate) != now:
            return candidate
    return round(changed) if whole else changed


def _outwards(start: float, limit: float) -> Iterator[float]:
    """Values from near `start` to `limit`, which is the last."""
    whole_way = abs(limit - start)
    sign = math.copysign(1, limit - start)
    distance = abs(start) * _FIRST_STEP if start else whole_way * _FIRST_STEP_FROM_ZERO
    while distance < whole_way:
        yield start + sign * distance
        distance *= _GROWTH
    if whole_way:
        yield limit


def _rounded_outwards(same: float, changed: float, start: float, limit: float, *, whole: bool) -> Iterator[float]:
    """Numbers of few digits around the change, those nearer to `start` first, strictly between it and the limit (or on that)."""
    if changed == 0:
        return
    up = changed > start
    exact = Decimal(changed)
    unit = Decimal(10) ** (exact.adjusted() - DIGITS + 1)
    if whole:
        unit = max(unit, Decimal(1))
    nearest = (Decimal(same) / unit).to_integral_value(ROUND_FLOOR if up else ROUND_CEILING) * unit
    for steps in range(3):
        candidate = float(nearest + (steps if up else -steps) * unit)
        past_start = candidate > start if up else candidate < start
        within = candidate <= limit if up else candidate >= limit
        if past_start and within:
            yield int(candidate) if whole else candidate


def _yes(value: bool) -> str:
    return "yes" if value else "no"
