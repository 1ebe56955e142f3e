"""The paces of a rollout's waves, when they are changed while it is under way, and as far as they came. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from isthmus.errors import InputError, property_path
from isthmus.fleet.pacing import pace_of, pace_problems
from isthmus.rollouts.membership import by_wave
from isthmus_agent.formats.assignment import Assignment, Wave
from isthmus_agent.formats.pace import CLOCKS_SECONDS, WHOLE_PACE, Pace, pace_draw
from isthmus_agent.formats.roster import Device


def reached(told: Assignment, at_seconds: int) -> tuple[Wave, ...]:
    """The open waves, as far as their paces came: what is kept of a rollout that is replaced."""
    return tuple(_kept(told.waves[index], due(told, index, at_seconds + CLOCKS_SECONDS)) for index in range(told.open_waves))


def at_once(wave: Wave) -> Wave:
    """The part of a wave that begins when it is opened."""
    return _kept(wave, _share(wave, 0))


def due(told: Assignment, wave: int, at_seconds: float) -> int:
    """The share of an open wave that may begin by its pace: devices whose `pace_draw` is below it. wave: its index."""
    return _share(told.waves[wave], 0 if told.paused else at_seconds - told.opened_seconds[wave])


def _share(wave: Wave, seconds: float) -> int:
    return wave.pace.reached(seconds) if wave.pace else WHOLE_PACE


def _kept(wave: Wave, share: int) -> Wave:
    return replace(wave, gate=None, pace=None, reached=share)


def repaced(told: Assignment, most: Sequence[int | None], devices: Iterable[Device], at_seconds: int) -> tuple[Wave, ...]:
    """The waves with other paces. Whoever may have begun by now has, and nobody begins in the same minute as more than are allowed then.

    most: of each wave, a minute. Raises InputError where a wave would take too long.
    """
    changed = {index for index, (wave, it) in enumerate(zip(told.waves, most, strict=True)) if _most(wave) != it}
    if told.passed_seconds is not None or not changed:
        return told.waves
    members, waves, problems = by_wave(told, devices), list(told.waves), []
    for index in sorted(changed):
        draws = [pace_draw(told.salt, it.name) for it in members.get(index, ())]
        pace = _changed(told, index, most[index], draws, at_seconds)
        problems += pace_problems(len(draws), pace, f"{property_path([index], 'waves')}.most_per_minute")
        waves[index] = replace(waves[index], pace=pace)
    if problems:
        raise InputError(problems)
    return tuple(waves)


def _most(wave: Wave) -> int | None:
    return wave.pace.most_per_minute if wave.pace else None


def _changed(told: Assignment, index: int, most: int | None, draws: Sequence[int], at_seconds: int) -> Pace | None:
    if most is None:
        return None
    if index >= told.open_waves:
        return pace_of(draws, most)
    was = told.waves[index].pace
    if was is None:  # all may have begun
        return Pace(most)
    come = due(told, index, at_seconds)
    begun = [it for it in was.shares if it <= come]
    return Pace(most, (*begun, *pace_of([it for it in draws if it >= come], most).shares))
