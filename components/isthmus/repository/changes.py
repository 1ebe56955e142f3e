"""Changes of what a fleet is told, for `publish`: from the assignment in force, and the number that follows, to the next one."""

from dataclasses import replace

from isthmus.errors import InputError, Problem
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Wave


def opened(told: Assignment | None, number: int) -> Assignment:
    """One wave more is open. The number stays: devices of open waves see nothing new. number: that is not used."""
    found = _needed(told)
    if found.open_waves == len(found.waves):
        raise InputError([Problem(f"fleet {found.fleet}", f"all {len(found.waves)} waves are open", "a wave that is not")])
    return replace(found, open_waves=found.open_waves + 1)


def paused(told: Assignment | None, number: int) -> Assignment:
    """Devices begin nothing new."""
    return replace(_needed(told), paused=True)


def resumed(told: Assignment | None, number: int) -> Assignment:
    """Devices go on."""
    return replace(_needed(told), paused=False)


def aborted(told: Assignment | None, number: int) -> Assignment:
    """What was before, for all devices and under a new number: a device follows no number that goes back."""
    found = _needed(told)
    if found.before is None:
        raise InputError(
            [Problem(f"fleet {found.fleet}", "there was nothing before this release", "a release to go back to", "publish one")]
        )
    everybody = (Wave("all", WHOLE_SHARE),)
    return replace(
        found, number=number, variants=found.before.variants, deltas=(), waves=everybody, open_waves=1, before=None, paused=False
    )


def _needed(told: Assignment | None) -> Assignment:
    if told is None:
        raise InputError([Problem("fleet", "it was told nothing yet", "a release that was published")])
    return told
