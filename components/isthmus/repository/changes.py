"""Changes of what a fleet is told, for `publish`: from the assignment in force, and the number that follows, to the next one.

now: when it is; left out: now. What is changed at that time is noted in it.
"""

from dataclasses import replace
from datetime import UTC, datetime

from isthmus.errors import InputError, Problem
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Wave
from isthmus_agent.formats.pace import CLOCKS_SECONDS
from isthmus_agent.formats.probation import Probation


def opened(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """One wave more is open. The number stays: devices of open waves see nothing new. number: that is not used."""
    found = _needed(told)
    if found.open_waves == len(found.waves):
        raise InputError([Problem(f"fleet {found.fleet}", f"all {len(found.waves)} waves are open", "a wave that is not")])
    return replace(found, open_waves=found.open_waves + 1, opened_seconds=(*found.opened_seconds, seconds_at(now)))


def passed(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """The last wave has passed: what comes after this release keeps it for whom it does not reach. Only where all waves are open."""
    found = _needed(told)
    return replace(found, passed_seconds=seconds_at(now), turns=None) if found.passed_seconds is None else found


def promoted(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """What follows if the open waves have passed: one more is open, or the release is the fleet's. Raises InputError where turns are still
    to come: all of them would begin at once."""
    found = _needed(told)
    if found.turns and not found.turns.is_over(found.open_waves) and found.passed_seconds is None:
        what = f"devices of open waves wait for their turn, by the budget for the label {found.turns.budget.label!r}"
        fix = f"isthmus fleet status {found.fleet} shows for whom; bring those back or remove them, or raise the budget, and then resume"
        raise InputError([Problem(f"fleet {found.fleet}", what, "turns that have all come", fix)])
    if found.open_waves == len(found.waves) and found.passed_seconds is None:
        return passed(found, number, now)
    return opened(found, number, now)


def paused(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """Devices begin nothing new. Of the open waves' paces only what is to come is left, which begins anew when devices go on."""
    found = _needed(told)
    if found.paused:
        return found
    at = seconds_at(now) + CLOCKS_SECONDS
    came = tuple(
        replace(wave, pace=wave.pace.after(at - opened)) if wave.pace else wave
        for wave, opened in zip(found.waves, found.opened_seconds, strict=False)
    )
    return replace(found, paused=True, waves=(*came, *found.waves[found.open_waves :]))


def resumed(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """Devices go on. The last open wave has its whole deadline again: nobody could begin meanwhile. So has what is left of the paces of
    waves before it, which were opened by hand before all of theirs had begun."""
    found = _needed(told)
    if not found.paused:
        return found
    opened = list(found.opened_seconds)
    for index, wave in enumerate(found.waves[: found.open_waves]):
        if index == found.open_waves - 1 or (wave.pace and wave.pace.shares):
            opened[index] = seconds_at(now)
    return replace(found, paused=False, opened_seconds=tuple(opened))


def aborted(told: Assignment | None, number: int, now: datetime | None = None) -> Assignment:
    """The last release that came to its end, for all devices and under a new number: a device follows no number that goes back.

    All at once, whatever budget there was: a bad release is nothing to be kept for a turn, and whom it did not reach changes nothing.
    """
    found = _needed(told)
    if found.before is None:
        raise InputError(
            [Problem(f"fleet {found.fleet}", "there was nothing before this release", "a release to go back to", "publish one")]
        )
    at = seconds_at(now)
    everybody = (Wave("all", WHOLE_SHARE),)
    return replace(
        found,
        number=number,
        # What devices had is not judged by what was asked of what took its place.
        probation=Probation(found.probation.seconds, found.probation.max_crashes),
        variants=found.before.variants,
        deltas=(),
        waves=everybody,
        open_waves=1,
        opened_seconds=(at,),
        passed_seconds=at,
        before=None,
        kept=(),
        paused=False,
        turns=None,
    )


def seconds_at(now: datetime | None) -> int:
    """As it is noted: since 1970."""
    return int((now or datetime.now(UTC)).timestamp())


def _needed(told: Assignment | None) -> Assignment:
    if told is None:
        raise InputError([Problem("fleet", "it was told nothing yet", "a release that was published")])
    return told
