"""Looks at the store: the effect Check."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from isthmus_agent.core import events
from isthmus_agent.core.effects import Check
from isthmus_agent.core.events import Event
from isthmus_agent.core.state import Device
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.numbers import DAY_SECONDS
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.failures import RepositoryFailure, reason_of
from isthmus_agent.manager.refreshing import Floor, Target
from isthmus_agent.manager.repository import Found, Repository
from isthmus_agent.manager.signing_v4 import StoreClock
from isthmus_agent.manager.way import Way

MOST_CLOCK_AHEAD_SECONDS = 400 * DAY_SECONDS
"""Of a clock that nobody vouches for, before what was signed last: it is not believed beyond that."""


@dataclass(frozen=True)
class Known:
    """What the disk knew when it was asked to look."""

    number: int
    time_floor: int
    time_keys: str
    is_lost: bool


class Looker:
    """The repository as one thread asks it. tell: called in that thread. targets: of what was found last, by path."""

    def __init__(
        self,
        repository: Repository,
        way: Way,
        clock: StoreClock,
        device: Device,
        tell: Callable[[Event], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository, self._way, self._clock, self._device, self._tell = repository, way, clock, device, tell
        self._monotonic = monotonic
        self._floor = Floor(0)
        self._floor_at = monotonic()
        self.targets: Mapping[str, Target] = {}

    def look(self, check: Check, known: Known) -> None:
        """Answers the effect."""
        try:
            self._tell(self._looked(check, known))
        except RepositoryFailure as failure:
            self._tell(events.CheckFailed(reason_of(failure), str(failure)))
        except Exception as error:  # whatever a store's answer makes of this program, it looks again
            self._tell(events.CheckFailed(Reason.ODD_ANSWER, f"{type(error).__name__}: {error}"))

    def time_floor(self, at_least: int = 0) -> int:
        """A time since 1970 that is past. It grows with this machine's monotonic clock."""
        return max(int(self._floor.time_seconds + self._monotonic() - self._floor_at) if self._floor.time_seconds else 0, at_least)

    def utc_seconds(self, at_least: int = 0) -> float | None:
        """The time by the store, or by a clock that nothing speaks against; None where there is none to trust."""
        floor, now = self.time_floor(at_least), self._clock.now()
        if not self._way.has_answered or now < floor - 60:
            return None
        return now if not floor or now < floor + MOST_CLOCK_AHEAD_SECONDS else None

    def _looked(self, check: Check, known: Known) -> Event:
        time_floor, utc = self.time_floor(known.time_floor), self.utc_seconds(known.time_floor)
        # After the disk was lost an assignment has to be one that would be accepted today, by the store's time.
        is_judged_by_store = known.is_lost and utc is not None
        now = max(time_floor, int(utc)) if is_judged_by_store and utc is not None else time_floor
        floor = Floor(now, known.number, self._floor.root, known.time_keys or self._floor.time_keys)
        found = self._repository.poll(floor) if check.is_conditional else self._repository.refresh(floor)
        if found is None:
            return events.Unchanged(time_floor)
        # A time that only the store's clock said is not kept: it would hold for ever.
        is_kept = is_judged_by_store and floor.time_keys in ("", found.floor.time_keys)
        learned = time_floor if is_kept else found.floor.time_seconds
        self._floor, self._floor_at = replace(found.floor, time_seconds=learned), self._monotonic()
        if found.assignment is None:
            return events.CheckFailed(Reason.MISSING_OBJECT, "nothing was published for this fleet yet")
        self.targets = self._targets(found, found.assignment)
        return events.Checked(found.assignment, learned, is_judged_by_store, found.floor.time_keys)

    def _targets(self, found: Found, assignment: Assignment) -> Mapping[str, Target]:
        wanted = assignment.wanted(self._device.name, self._device.labels, self._device.device_class)
        if wanted is None or wanted.variant is None:
            return {}
        paths = [wanted.variant.bundle, *(it.path for it in assignment.deltas_to(wanted.variant.digest))]
        return {path: self._repository.target(path) for path in paths}
