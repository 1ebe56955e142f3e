"""What a budget by label makes of a rollout's waves, before it is told: how many turns they take, and what is wrong with it. Pure."""

import difflib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from isthmus.errors import Problem, property_path
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.turns import MOST_VALUES, NO_VALUE, Budget

MOST_TURNS: Final = 1440
"""Of a wave: each is signed, and takes a probation at the least."""
_SHOWN: Final = 3


def turns_of(budget: Budget, devices: Iterable[Device], of_wave: Iterable[str]) -> int:
    """How many turns a wave takes, one after the other, if all goes well. devices: of the fleet; of_wave: that it brings the release to."""
    return max((math.ceil(new / most) for new, most in _by_value(budget, devices, of_wave)), default=0)


def at_once(budget: Budget, devices: Iterable[Device], of_wave: Iterable[str]) -> int:
    """How many devices of a wave may be in the middle of an update at one time. devices, of_wave: as in `turns_of`."""
    return sum(min(new, most) for new, most in _by_value(budget, devices, of_wave))


def _by_value(budget: Budget, devices: Iterable[Device], of_wave: Iterable[str]) -> list[tuple[int, int]]:
    """Of each value: how many devices of the wave have it, and how many of those may be updated at once."""
    values = {it.name: budget.value_of(it.labels) for it in devices}
    count = Counter(values.values())
    return [(new, budget.of(count[value])) for value, new in Counter(values[it] for it in of_wave).items()]


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
    for index, names in enumerate(waves):
        turns = turns_of(budget, devices, names)
        if turns > MOST_TURNS:
            new = max(Counter(budget.value_of(it.labels) for it in devices if it.name in set(names)).values())
            what = f"a wave ({property_path([index], 'waves')}) takes {turns:,} turns for {new:,} devices of one {budget.label}"
            fix = f"raise it ({math.ceil(new / MOST_TURNS):,} devices at once would do), or make more waves of this one"
            yield Problem(path, what, f"{MOST_TURNS:,} turns at most", fix)
