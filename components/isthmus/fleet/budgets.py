"""What a budget by label makes of a rollout's waves, before it is told: how many turns they take, and what is wrong with it. Pure."""

import difflib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.errors import Problem, property_path
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.turns import MOST_VALUES, NO_VALUE, Budget

MOST_TURNS: Final = 1440
"""Of a wave: each is signed, and takes a probation at the least."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class WaveTurns:
    """A wave under a budget.

    turns: how many it takes, one after the other, if all goes well. at_once: how many of its devices may be in the middle of an update at
    one time. largest: how many of them have the same value at most.
    """

    turns: int
    at_once: int
    largest: int


def wave_turns(budget: Budget, devices: Iterable[Device], waves: Iterable[Iterable[str]]) -> tuple[WaveTurns, ...]:
    """Of each wave. devices: of the fleet; waves: whom each brings the release to."""
    values = {it.name: budget.value_of(it.labels) for it in devices}
    count = Counter(values.values())
    found = []
    for names in waves:
        # Of each value: how many devices of the wave have it, and how many of those may be updated at once.
        its = [(new, budget.of(count[value])) for value, new in Counter(values[it] for it in names).items()]
        turns = max((math.ceil(new / most) for new, most in its), default=0)
        found.append(WaveTurns(turns, sum(min(new, most) for new, most in its), max((new for new, _ in its), default=0)))
    return tuple(found)


def figure(budget: Budget) -> str:
    """How many of a value, in words: such as `2`, or `25 %`."""
    if budget.most_devices is None:
        return f"{100 * (budget.most_millionths or 0) / MILLION:g} %"
    return f"{budget.most_devices:,}"


def budget_problems(budget: Budget | None, devices: Sequence[Device], waves: Sequence[Collection[str]], path: str) -> list[Problem]:
    """What is wrong with a budget for these devices. waves: whom each brings the release to. path: of the budget."""
    if budget is None:
        return []
    values = {budget.value_of(it.labels) for it in devices}
    found = [*values_problems(budget, values, path), *_too_many_turns(budget, devices, waves, path)]
    return [*_no_label(budget, devices, path)] if values == {NO_VALUE} else found


def values_problems(budget: Budget, values: Collection[str], path: str = "budget") -> list[Problem]:
    """Too many values of the label. values: that the fleet's devices have."""
    if len(values) <= MOST_VALUES:
        return []
    what = f"the fleet's devices have {len(values):,} values of the label {budget.label!r}"
    return [Problem(f"{path}.label", what, f"{MOST_VALUES:,} at most", "name a label with fewer")]


def _no_label(budget: Budget, devices: Iterable[Device], path: str) -> Iterator[Problem]:
    known = sorted({key for it in devices for key in it.labels})
    close = difflib.get_close_matches(budget.label, known, n=1)
    expected = "one of the labels " + ", ".join(known[:_SHOWN]) if known else "devices with labels"
    yield Problem(f"{path}.label", f"no device has the label {budget.label!r}", expected, f"did you mean {close[0]!r}?" if close else "")


def _too_many_turns(budget: Budget, devices: Sequence[Device], waves: Sequence[Collection[str]], path: str) -> Iterator[Problem]:
    for index, it in enumerate(wave_turns(budget, devices, waves)):
        if it.turns > MOST_TURNS:
            what = f"a wave ({property_path([index], 'waves')}) takes {it.turns:,} turns for {it.largest:,} devices of one {budget.label}"
            fix = f"raise it ({math.ceil(it.largest / MOST_TURNS):,} devices at once would do), or make more waves of this one"
            yield Problem(path, what, f"{MOST_TURNS:,} turns at most", fix)
