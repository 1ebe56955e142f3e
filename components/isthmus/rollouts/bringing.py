"""Bringing a release to a fleet, wave by wave.

Nothing is remembered between two looks but what is signed: what the fleet is told, its gates, how many waves are open and since when.
So a rollout that is broken off anywhere goes on where it was, here or on another machine; and of two who do it at once one opens the next
wave, and the other finds it open.
"""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from isthmus.errors import InputError, Problem, StoreError
from isthmus.fleet.judging import GateVerdict
from isthmus.release.store import MissingBucketError, MissingObjectError, RefusedCredentialsError
from isthmus.repository import changes, roster
from isthmus.repository.enrolment import settle_if_possible
from isthmus.repository.objects import RacedError
from isthmus.repository.publish import Change, publish
from isthmus.repository.reading import check_not_expired
from isthmus.repository.reports import Look, look
from isthmus.rollouts import stopping
from isthmus.rollouts.contents import deltas_to
from isthmus.rollouts.deciding import Step, step
from isthmus.rollouts.intent import Fleet, Intent, adjusted, following, is_about, plan, salt_after
from isthmus.rollouts.looking import Clock, Pause, Signed, asked, at, earlier_looks, looks_before, read_signed
from isthmus.rollouts.standing import Standing, standing_of
from isthmus.rollouts.turns import began_seconds, given, is_waiting, members, turned
from isthmus.words import in_bytes
from isthmus_agent.formats import digests
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.contents import Delta
from isthmus_agent.formats.report import HEARTBEAT_SECONDS
from isthmus_agent.formats.roster import Roster
from isthmus_agent.formats.sealed_contents import opens

FIRST_PAUSE_SECONDS: Final = 0.5
MOST_PAUSE_SECONDS: Final = 10.0
LONGER: Final = 1.5
MOST_LOOKING: Final = 0.2
"""The share of the time that is spent on looking: a look at many devices takes a while."""
PATIENCE_SECONDS: Final = 60.0
"""For which a store that fails is asked again, at the least."""
_TRIES: Final = 8

T = TypeVar("T")
Progress = Callable[[str], None]
"""Shows one line to people."""


class _MovedError(Exception):
    """What is signed is not what was looked at any more."""


def bring(
    fleet: Fleet, intent: Intent, upto: int, *, wait: bool, progress: Progress, pause: Pause = time.sleep, now: Clock = time.time
) -> Standing:
    """Has a release on the devices of the first waves, up to the wave of the index `upto`, once they have passed.

    Tells the fleet the intent, unless it is told that already, and opens one wave after the other. wait: False: returns with what stands
    now, after what has passed was opened.

    Raises RolloutAbortedError, RolloutPausedError, RolloutReplacedError; InputError where waves, gates or devices are not right; and
    errors as for `publish` and `look`.
    """
    return _Bringing(fleet, progress, pause, now, wait=wait).bring(intent, upto)


def follow(fleet: Fleet, *, wait: bool, progress: Progress, pause: Pause = time.sleep, now: Clock = time.time) -> Standing:
    """As `bring`, with what the fleet is told already, up to its last wave. Raises InputError where it is told nothing."""
    return _Bringing(fleet, progress, pause, now, wait=wait).follow()


class _Bringing:
    def __init__(self, fleet: Fleet, progress: Progress, pause: Pause, now: Clock, *, wait: bool) -> None:
        if fleet.secret is None:
            what = "its secret is not here, without which nobody can read what devices say"
            raise InputError([Problem(f"fleet {fleet.name}", what, "the secret that its devices were enrolled with")])
        self._fleet, self._progress, self._pause, self._now, self._wait = fleet, progress, pause, now, wait
        self._roster = Roster(fleet.name)
        self._signed_or_none: Signed | None = None
        self._look: Look | None = None
        self._earlier: Mapping[int, Look] = {}
        self._said = ""
        self._heard_from = 0.0
        """Silence counts from then on only: before it, the store could not be asked."""

    def bring(self, intent: Intent, upto: int) -> Standing:
        self._begin()
        self._tell(intent)
        return self._go_on(upto)

    def follow(self) -> Standing:
        self._begin()
        if self._signed.told is None:
            raise InputError([Problem(f"fleet {self._fleet.name}", "it was told nothing yet", "a release that was published")])
        return self._go_on(len(self._told.waves) - 1)

    @property
    def _signed(self) -> Signed:
        assert self._signed_or_none is not None  # noqa: S101 - from `_begin` on
        return self._signed_or_none

    @property
    def _told(self) -> Assignment:
        assert self._signed.told is not None  # noqa: S101 - from `_tell` on
        return self._signed.told

    def _begin(self) -> None:
        place, keyring, name = self._fleet.place, self._fleet.keyring, self._fleet.name
        settled = self._patiently(lambda: settle_if_possible(place, keyring, name, now=at(self._now())))
        self._roster = settled.roster
        if settled.joined:
            self._progress(f"joined: {', '.join(settled.joined)}")
        if not self._roster.devices:
            waiting = f"; {len(self._roster.pending)} tokens were not used yet" if self._roster.pending else ""
            fix = f"isthmus fleet enrol DEVICE --fleet {name}, and isthmus-agent enrol on the device"
            raise InputError([Problem(f"fleet {name}", f"it has no devices{waiting}", "at least one enrolled device", fix)])
        self._read()
        check_not_expired(self._signed.current, at(self._now()))

    def _read(self) -> None:
        self._signed_or_none = self._patiently(lambda: read_signed(self._fleet))

    def _tell(self, intent: Intent) -> None:
        told = self._signed.told
        try:
            if told is None or not is_about(told, intent):
                self._tell_anew(intent)
            elif (wanted := adjusted(told, intent, self._roster.devices, int(self._now()))) != told:
                self._publish(lambda *_: wanted)
                self._progress(f"number {told.number} goes on with other gates, pace, budget, probation, window, samples or counts")
        except _MovedError:
            self._read()
            found = self._signed.told
            if found is None or not is_about(found, intent):
                raise stopping.replaced(self._fleet.name, told, found) from None

    def _tell_anew(self, intent: Intent) -> None:
        told, name = self._signed.told, self._fleet.name
        if told is not None and told.paused and told.passed_seconds is not None:  # it is no gate's pause, which a new release would end
            raise stopping.paused_by_somebody(self._stands_with_versions(told))
        planned = plan(intent, self._roster.devices, salt_after(told))
        deltas, files = self._deltas(intent, told) if told else ((), {})
        at_seconds = int(self._now())
        change: Change = lambda told, number: following(  # noqa: E731
            told, number, name, intent, planned, deltas=deltas, at_seconds=at_seconds
        )
        self._publish(change, {**intent.files, **files})
        self._progress(_beginning(self._told, len(self._roster.devices)))

    def _deltas(self, intent: Intent, told: Assignment) -> tuple[tuple[Delta, ...], Mapping[str, bytes]]:
        """From what is on the fleet: of what it is told, that first which most devices say that they have."""
        count = self._stands_with_versions(told).versions
        old = sorted(told.contents, key=lambda it: -count.get(it.digest, 0))
        fleet, targets = self._fleet, self._signed.targets
        wanted = {it.digest for it in intent.variants}
        for it in dict.fromkeys(it for it in old if it.digest not in wanted and not opens(fleet.content_key, it.key)):
            self._progress(f"no delta from {digests.shown(it.digest)}: it is sealed with the key of another secret of the fleet")
        return deltas_to(intent.variants, intent.files, old, targets, fleet.place, make=fleet.make, key=fleet.content_key)

    def _stands_with_versions(self, told: Assignment) -> Standing:
        found = self._patiently(lambda: self._looked(told, None))
        return standing_of(told, self._roster, found, self._now(), earlier_looks(self._fleet, told, self._roster, self._pause, self._now))

    def _go_on(self, upto: int) -> Standing:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            began = self._now()
            standing = self._stands()
            if self._said != (line := _line(standing)):
                self._progress(line)
                self._said, pause_seconds = line, FIRST_PAUSE_SECONDS
            found = step(standing, upto)
            if found is Step.DONE:
                return standing
            if found in (Step.ABORT, Step.PAUSE) and self._is_unheard(standing.verdict):
                found = Step.WAIT
            if found is not Step.WAIT:
                self._do(found, standing)
                continue
            if not self._wait:
                return standing
            self._pause(max(pause_seconds, (self._now() - began) / MOST_LOOKING))
            pause_seconds = min(pause_seconds * LONGER, MOST_PAUSE_SECONDS)

    def _do(self, found: Step, standing: Standing) -> None:
        """Takes the step, unless what was looked at has changed meanwhile. Raises RolloutStoppedError where it is an end."""
        done: dict[Step, Callable[[Standing], None]] = {
            Step.HELD: self._hold,
            Step.ABORT: self._abort,
            Step.TURN: self._turn,
            Step.FINISH: self._finish,
            Step.OPEN: self._open,
            Step.PAUSE: self._hold_back,
        }
        try:
            done[found](standing)
        except _MovedError:
            return  # the next look sees it

    def _hold(self, standing: Standing) -> None:
        raise stopping.paused_by_somebody(standing)

    def _abort(self, standing: Standing) -> None:
        now = at(self._now())
        if self._told.before is None:
            self._publish(lambda told, number: changes.paused(told, number, now))
            raise stopping.paused(standing, nothing_before=True)
        self._publish(lambda told, number: changes.aborted(told, number, now))
        raise stopping.aborted(standing, self._told.number)

    def _hold_back(self, standing: Standing) -> None:
        now = at(self._now())
        self._publish(lambda told, number: changes.paused(told, number, now))
        raise stopping.paused(standing)

    def _open(self, standing: Standing) -> None:
        now, wave = at(self._now()), standing.waves[len(standing.open_waves)]
        if self._told.turns:
            self._earlier = self._patiently(self._looked_before)
        self._publish(lambda told, number: self._turned(changes.opened(told, number, now)))
        self._progress(f"wave {wave.name} is open: {len(wave.devices)} devices")

    def _turn(self, standing: Standing) -> None:
        before = self._told
        self._publish(lambda told, number: self._turned(before))
        if whose := given(before, self._told, self._roster.devices):
            self._progress(f"it is the turn of {whose}")

    def _turned(self, told: Assignment) -> Assignment:
        """What is told, with the turns that come by the last look."""
        looks = {told.number: self._look, **self._earlier} if self._look else {}
        return turned(told, members(told, self._roster.devices, looks, self._now()), self._now())

    def _finish(self, standing: Standing) -> None:
        now = at(self._now())
        self._publish(lambda told, number: changes.passed(told, number, now))
        self._progress(f"number {standing.number} is the fleet's: all waves have passed")

    def _stands(self) -> Standing:
        """By what is in force. Raises RolloutReplacedError where that is another rollout."""
        place, told = self._fleet.place, self._told
        if self._patiently(lambda: place.objects.tag(place.timestamp_key)) != self._signed.tag:
            self._read()
            found = self._signed.told
            if found is None or (found.number, found.identity) != (told.number, told.identity):
                raise stopping.replaced(self._fleet.name, told, found)
            self._roster = self._patiently(lambda: roster.read(place, self._fleet.keyring, self._fleet.name))
        self._look = self._patiently(lambda: self._looked(self._told, self._look))
        self._earlier = self._patiently(self._looked_before) if is_waiting(self._told, self._roster.devices) else {}
        return standing_of(self._told, self._roster, self._look, self._now(), self._earlier)

    def _looked_before(self) -> Mapping[int, Look]:
        return looks_before(self._fleet, self._told, self._roster, self._pause, self._now)

    def _looked(self, told: Assignment, before: Look | None) -> Look:
        place = self._fleet.place
        about = asked(self._fleet, told, self._roster)
        return look(place.objects, place.prefix, about, before=before, patience_seconds=0, wait=self._pause, now=self._now)

    def _is_unheard(self, verdict: GateVerdict | None) -> bool:
        """Whether it is by a silence that may be the store's: it has failed, and devices have had no time to say something since."""
        its = verdict.evidence if verdict else None
        by_silence = its is not None and its.is_late and (its.failures > its.failed or its.later > 0)
        return by_silence and self._now() < self._heard_from

    def _publish(self, how: Change, files: Mapping[str, bytes | Path] | None = None) -> None:
        """Makes a change of what was looked at, and of nothing else. Raises _MovedError where it is not in force any more."""
        place, keyring, name, seen = self._fleet.place, self._fleet.keyring, self._fleet.name, self._signed.told
        meant: list[Assignment] = []

        def change(told: Assignment | None, number: int) -> Assignment:
            if told is not None and told in meant:
                return told  # it was written, and the answer was lost
            if told != seen:
                raise _MovedError
            meant.append(how(told, number))
            return meant[-1]

        for left in reversed(range(_TRIES)):
            try:
                self._patiently(lambda: publish(place, keyring, name, change, files, now=at(self._now())))
                break
            except RacedError:  # it may have been the roster, or what was signed anew
                if not left:
                    raise
                self._pause(random.uniform(0, FIRST_PAUSE_SECONDS))  # noqa: S311 - so that racing operators come apart
        self._read()
        if self._signed.told not in meant:
            raise _MovedError

    def _patiently(self, what: Callable[[], T]) -> T:
        """Asks a store that fails again, until the deadline of the wave that is waited for."""
        until, pause_seconds, said = self._now() + self._patience_seconds(), FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                return what()
            except (RefusedCredentialsError, MissingBucketError, MissingObjectError, RacedError):
                raise
            except StoreError as error:
                if self._now() >= until:
                    raise
                if said != (said := str(error)):
                    self._progress(f"asking again: {said}")
                self._pause(pause_seconds)
                pause_seconds = min(pause_seconds * LONGER, MOST_PAUSE_SECONDS)
                self._heard_from = self._now() + HEARTBEAT_SECONDS

    def _patience_seconds(self) -> float:
        told = self._signed_or_none.told if self._signed_or_none else None
        if not self._wait or told is None or not told.opened_seconds:
            return PATIENCE_SECONDS
        wave = told.waves[told.open_waves - 1]
        until = began_seconds(told, told.open_waves - 1) + (wave.gate.deadline_seconds if wave.gate else 0)
        return max(PATIENCE_SECONDS, until - self._now())


def _line(standing: Standing) -> str:
    """About the last open wave: those before it have passed."""
    opened = standing.open_waves
    return opened[-1].line() if opened else f"number {standing.number}: no wave is open"


def _beginning(told: Assignment, devices: int) -> str:
    contents = ", ".join(dict.fromkeys(f"{digests.shown(it.digest)} ({in_bytes(it.bytes)})" for it in told.variants))
    line = f"number {told.number}: {contents} for {devices} devices in {len(told.waves)} waves; wave {told.waves[0].name} is open"
    if told.deltas:
        smallest, largest = (in_bytes(pick(it.bytes for it in told.deltas)) for pick in (min, max))
        line += f"; deltas of {smallest}" + ("" if smallest == largest else f" to {largest}")
    return line
