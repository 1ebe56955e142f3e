"""Turns of a rollout: of the devices with one value of a label no more than so many are unavailable at once. Pure.

A look gives turns to as many as the budget leaves. Unavailable are: whose turn has come and who has neither confirmed nor finally failed
and gone back (on the way, silent, overdue, blocked, or unclear: it may begin any moment); and of all others who is silent, or at something
of an earlier rollout that did not come to its end.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from isthmus.errors import InputError
from isthmus.fleet.budgets import values_problems
from isthmus.repository.reports import Look
from isthmus.rollouts.paces import due
from isthmus_agent.formats.assignment import Assignment, Wanted
from isthmus_agent.formats.numbers import MINUTE_SECONDS
from isthmus_agent.formats.pace import pace_draw
from isthmus_agent.formats.report import Outcome
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.turns import START, Budget, Place, Turns

SPACING_SECONDS: Final = 10
"""Between two times at which turns come: each is signed, and devices look once in a minute."""
_MOST_SHOWN: Final = 3


@dataclass(frozen=True)
class Member:
    """A device. place: of an open wave; None: of none. has_turn: its turn has come. is_due: it may come, by its wave's pace. is_out:
    unavailable, for any reason. is_known: whether what it says was read, or nothing is to be read."""

    name: str
    value: str
    place: Place | None
    has_turn: bool
    is_due: bool
    is_out: bool
    is_known: bool = True

    @property
    def waits(self) -> bool:
        """Whether its turn is still to come."""
        return self.place is not None and not self.has_turn


def members(told: Assignment, devices: Iterable[Device], looks: Mapping[int, Look], now_seconds: float) -> list[Member]:
    """All devices of a fleet whose rollout has turns. looks: by the number that they are about."""
    turns, found = told.turns, []
    if turns is None:
        return []
    for device in devices:
        wave, drawn = told.wave_of(device.name, device.labels), pace_draw(told.salt, device.name)
        is_open = wave is not None and wave < told.open_waves
        wanted = told.wanted(device.name, device.labels, device.device_class)
        found.append(
            Member(
                device.name,
                turns.budget.value_of(device.labels),
                (wave, drawn) if wave is not None and is_open else None,
                has_turn=wave is not None and told.has_turn(device.name, device.labels, wave),
                is_due=wave is not None and is_open and drawn < due(told, wave, now_seconds),
                # A device that was told nothing yet is at nothing.
                is_out=wanted is not None and _is_out(device.name, wanted, looks.get(wanted.number)),
                is_known=wanted is None or wanted.number in looks,
            )
        )
    return found


def _is_out(name: str, wanted: Wanted, look: Look | None) -> bool:
    report = look.reports.get(name) if look else None
    if look is None or report is None or report.is_overdue or name in look.unclear:
        return True
    is_done = report.outcome is Outcome.CONFIRMED or report.outcome.is_against_release
    return not (is_done or wanted.variant is None)  # it can never have what there is not for its class


def advanced(
    budget: Budget, devices: Iterable[Member], reached: Mapping[str, Place], open_waves: int, most_new: int | None = None
) -> dict[str, Place]:
    """How far each value may be reached now: never less than it was. Of values that no device has nothing is left.

    Who is out already costs nothing when its turn comes. Devices of one draw (a pair in 2**48) have theirs together, once nobody else is
    out. most_new: devices whose turn comes; None: as many as the budget has.
    """
    found, left_new = {}, math.inf if most_new is None else most_new
    for value, its in sorted(_by_value(devices).items(), key=lambda it: _first(it[1])):
        was, most = reached.get(value, START), budget.of(len(its))
        waiting = sorted((it for it in its if it.waits and it.place is not None), key=lambda it: it.place or START)
        place, new = _next(waiting, most - sum(it.is_out for it in its), most, left_new, (open_waves, 0))
        found[value], left_new = max(was, place), left_new - new
    return dict(sorted(found.items()))


def _by_value(devices: Iterable[Member]) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for it in devices:
        found.setdefault(it.value, []).append(it)
    return found


def _first(its: Iterable[Member]) -> Place:
    """So that those who wait for the longest are the first to take of a pace."""
    return min(((it.place[1], 0) for it in its if it.waits and it.place), default=START)


def _next(waiting: Iterable[Member], left: int, most: int, left_new: float, end: Place) -> tuple[Place, int]:
    """The place before which those are whose turn comes, and how many. waiting: in the order of their places."""
    new = 0
    for place, group in groupby(waiting, key=lambda it: it.place or START):
        same = [*group]
        cost = sum(not it.is_out for it in same)
        is_room = cost <= max(left, 0) or (cost > most and left == most)
        if not is_room or new >= left_new or not same[0].is_due:
            return place, new
        left, new = left - cost, new + len(same)
    return end, new


def turned(told: Assignment, devices: Collection[Member], now_seconds: float) -> Assignment:
    """What is told, with the turns that come now; the same where none does. Raises InputError where the label has too many values.

    With a pace no more come in a minute than may begin in it: both hold. Nobody's turn comes by half a look.
    """
    turns = told.turns
    if turns is None or told.paused or told.passed_seconds is not None or not told.open_waves:
        return told
    if not all(it.is_known for it in devices):
        return told
    pace = told.waves[told.open_waves - 1].pace
    is_first = not any(place > (told.open_waves - 1, 0) for place in turns.by_value.values())
    since = now_seconds - turns.since_seconds  # below -1: it was signed by a clock that is ahead, which is to hold nobody up
    is_soon = not is_first and -1 < since < (MINUTE_SECONDS if pace else SPACING_SECONDS)
    most_new = 0 if is_soon else pace.most_per_minute if pace else None
    by_value = advanced(turns.budget, devices, turns.by_value, told.open_waves, most_new)
    if problems := values_problems(turns.budget, by_value):
        raise InputError(problems)
    if by_value == turns.by_value:
        return told
    is_anybodys = any(it.waits and it.place is not None and it.place < by_value[it.value] for it in devices)
    return replace(told, turns=Turns(turns.budget, by_value, math.ceil(now_seconds) if is_anybodys else turns.since_seconds))


@dataclass(frozen=True)
class ValueStanding:
    """Devices with one value of the label of which some wait for their turn. most: that may be unavailable at once. out: who is."""

    value: str
    devices: int
    most: int
    waiting: int
    out: tuple[str, ...]


@dataclass(frozen=True)
class TurnsStanding:
    """values: of which devices wait for their turn, those with the most first. waiting: these devices. is_due: whether turns come now."""

    label: str
    values: tuple[ValueStanding, ...]
    waiting: frozenset[str]
    is_due: bool

    def words(self) -> str:
        """Such as `3 with site a wait for camera-07`; empty where nobody waits."""
        return _listed(
            "; ", [f"{it.waiting:,} {_with(self.label, it.value)} wait for {_names(it.out) or 'their turn'}" for it in self.values]
        )


def turns_standing(told: Assignment, devices: Iterable[Device], looks: Mapping[int, Look], now_seconds: float) -> TurnsStanding | None:
    """Where the turns of a rollout stand. None: it has none. looks: as for `members`; without any nobody is known to be out."""
    if told.turns is None:
        return None
    found = members(told, devices, looks, now_seconds)
    values = [
        ValueStanding(
            value,
            len(its),
            told.turns.budget.of(len(its)),
            sum(it.waits for it in its),
            tuple(sorted(it.name for it in its if it.is_out and it.is_known)),
        )
        for value, its in _by_value(found).items()
    ]
    return TurnsStanding(
        told.turns.budget.label,
        tuple(sorted((it for it in values if it.waiting), key=lambda it: (-it.waiting, it.value))),
        frozenset(it.name for it in found if it.waits),
        is_due=turned(told, found, now_seconds) != told,
    )


def is_waiting(told: Assignment, devices: Iterable[Device]) -> bool:
    """Whether the turn of some device of an open wave is still to come."""
    waves = ((it, told.wave_of(it.name, it.labels)) for it in devices if told.turns)
    return any(wave is not None and wave < told.open_waves and not told.has_turn(it.name, it.labels, wave) for it, wave in waves)


def given(before: Assignment, after: Assignment, devices: Iterable[Device]) -> str:
    """Whose turn has come from one assignment to the next, in words."""
    assert after.turns is not None  # noqa: S101 - it was turned
    budget, new = after.turns.budget, Counter[str]()
    for it in devices:
        wave = after.wave_of(it.name, it.labels)
        if wave is not None and after.has_turn(it.name, it.labels, wave) and not before.has_turn(it.name, it.labels, wave):
            new[budget.value_of(it.labels)] += 1
    return _listed(", ", [f"{count:,} {_with(budget.label, value)}" for value, count in new.most_common()])


def _listed(between: str, values: Sequence[str]) -> str:
    """The first of what there is to say of each value, and of how many more."""
    more = len(values) - _MOST_SHOWN
    return between.join([*values[:_MOST_SHOWN], *([f"and of {more:,} more values"] if more > 0 else [])])


def _with(label: str, value: str) -> str:
    return f"with {label} {value}" if value else f"without {label}"


def _names(devices: Sequence[str]) -> str:
    more = f" and {len(devices) - _MOST_SHOWN} more" if len(devices) > _MOST_SHOWN else ""
    return ", ".join(devices[:_MOST_SHOWN]) + more


def began_seconds(told: Assignment, wave: int) -> int:
    """When the last device of an open wave might begin, since 1970: by its pace, and by the last turn that came. wave: its index."""
    pace = told.waves[wave].pace
    return max(told.opened_seconds[wave] + (pace.seconds if pace else 0), told.turns.since_seconds if told.turns else 0)


def all_reached(budget: Budget, devices: Iterable[Device], open_waves: int, since_seconds: int) -> Turns:
    """Of a rollout that goes on with turns from now on: all that could begin have had theirs."""
    return Turns(budget, {budget.value_of(it.labels): (open_waves, 0) for it in devices}, since_seconds)
