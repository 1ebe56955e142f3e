"""Looking at a fleet: what is signed, who the devices are, and what they say, as one `Standing`."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tuf.api.metadata import TargetFile

from isthmus.errors import StoreError
from isthmus.repository import enrolment
from isthmus.repository.publish import assignment_in
from isthmus.repository.reading import Current, read
from isthmus.repository.reports import Asked, Look, look
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.standing import Standing, standing_of
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.roster import Roster

Pause = Callable[[float], None]
"""Lets so many seconds pass."""
Clock = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True)
class Signed:
    """What is in force of a fleet. tag: of the timestamp: as long as it stays, all of this does. told: None: nothing yet."""

    tag: str
    current: Current
    told: Assignment | None
    targets: Mapping[str, TargetFile]


def read_signed(fleet: Fleet) -> Signed:
    """What is in force. Raises IntegrityError where it cannot be read, StoreError where the store fails."""
    current = read(fleet.place, fleet.keyring.anchor())
    metadata = current.delegated.get(fleet.name)
    told = assignment_in(metadata, fleet.name) if metadata else None
    return Signed(current.tag, current, told, dict(metadata.signed.targets) if metadata else {})


def observed(fleet: Fleet, *, now: Clock = time.time, pause: Pause = time.sleep) -> Standing | None:
    """Where a fleet's rollout stands, for who looks on: nothing is signed but the roster, where devices have joined and keys are here.

    None: the fleet was told nothing yet. Without its secret the standing has only what is signed. Errors as for `look`.
    """
    roster = enrolment.settle_if_possible(fleet.place, fleet.keyring, fleet.name, now=at(now())).roster
    told = read_signed(fleet).told
    if told is None:
        return None
    if fleet.secret is None:
        return standing_of(told, roster, None, now())
    found = look(fleet.place.objects, fleet.place.prefix, asked(fleet, told, roster), wait=pause, now=now)
    return standing_of(told, roster, found, now(), earlier_looks(fleet, told, roster, pause, now))


def asked(fleet: Fleet, told: Assignment, roster: Roster) -> Asked:
    """What is looked for about an assignment. Only where the fleet's secret is here."""
    return Asked(fleet.name, told.number, roster, fleet.secret or b"", [it.digest for it in told.variants])


def earlier_looks(fleet: Fleet, told: Assignment, roster: Roster, pause: Pause, now: Clock) -> dict[int, Look]:
    """Looks at the numbers that devices keep which the release has not reached, the newest first; none where all have the release.

    One that fails is passed over, for people and for deltas. Where something is decided by them: `looks_before`.
    """
    found = {}
    for number in _numbers_before(told):
        with suppress(StoreError):
            found[number] = _look_before(fleet, told, roster, number, pause=pause, now=now)
    return found


def looks_before(fleet: Fleet, told: Assignment, roster: Roster, pause: Pause, now: Clock) -> dict[int, Look]:
    """As `earlier_looks`, of all of them. Raises StoreError where one fails."""
    return {number: _look_before(fleet, told, roster, number, pause=pause, now=now) for number in _numbers_before(told)}


def _look_before(fleet: Fleet, told: Assignment, roster: Roster, number: int, *, pause: Pause, now: Clock) -> Look:
    about = replace(asked(fleet, told, roster), number=number, digests=())
    return look(fleet.place.objects, fleet.place.prefix, about, wait=pause, now=now, patience_seconds=0)


def _numbers_before(told: Assignment) -> list[int]:
    if told.passed_seconds is not None:
        return []
    return [*(it.number for it in told.kept), *([told.before.number] if told.before else [])]


def at(seconds: float) -> datetime:
    """A time since 1970, as the repository takes it."""
    return datetime.fromtimestamp(seconds, UTC)
