"""The core under any order of events, failures, kills and broken disks: what always holds, and how it ends once all works."""

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.isthmus_agent.core.world import BAD, DAY, GOOD, World, assignment, blames, digest_of, variant_of

from isthmus_agent.core import events
from isthmus_agent.core.causes import FAILURES, Failure
from isthmus_agent.core.effects import Check, Fetch, Persist, Serve, Sweep
from isthmus_agent.core.state import Moment, Phase, Settings
from isthmus_agent.core.step import wakes_at
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave, draw
from isthmus_agent.formats.pace import WHOLE_PACE, Pace
from isthmus_agent.formats.report import Outcome, Reason
from isthmus_agent.formats.window import Window

pytestmark = pytest.mark.slow

TRANSPORT = sorted(reason for reason, failure in FAILURES.items() if failure is Failure.TRANSPORT)
DEVICE = sorted(reason for reason, failure in FAILURES.items() if failure is Failure.DEVICE and reason is not Reason.HELD_BY_OPERATOR)
kills = st.none() | st.none() | st.integers(0, 4)


class Life(RuleBasedStateMachine):
    """One device's life."""

    @initialize(is_new=st.booleans())
    def begin(self, is_new: bool) -> None:
        self.world = World(settings=Settings(most_trial_boots=3))
        self.highest = 0
        self.crashed: set[str] = set()
        self.interrupted: dict[str, int] = {}
        self.seen = 0
        self.published_at = self.world.seconds
        self.cuts: dict[str, int] = {}
        self.world.kinds[digest_of(1)] = GOOD
        self.world.offered = assignment(1, digest_of(1))
        self._boot(None)
        if not is_new:
            self.world.settle()

    # What an operator does.

    @rule(
        kind=st.sampled_from([GOOD, GOOD, GOOD, *BAD]),
        is_open=st.booleans(),
        in_window=st.sampled_from([True, True, False]),
        is_paced=st.sampled_from([False, False, True]),
    )
    def publish(self, kind: str, is_open: bool, in_window: bool, is_paced: bool = False) -> None:
        world = self.world
        assert world.offered
        digest = digest_of(len(world.kinds) + 1)
        world.kinds[digest] = kind
        before = Before(world.offered.number, world.offered.variants)
        window = None if in_window else Window(0, 60, 600)
        # The device's draw is some 0.4 of the whole: it begins five minutes after the opening.
        pace = Pace(1, (1, 2, 3, 4, 5, WHOLE_PACE - 1)) if is_paced else None
        waves = (Wave("canary", 0, devices=("other",)), Wave("all", WHOLE_SHARE, pace=pace))
        opened = (int(world.seconds + 1_800_000_000),) * 2
        common = {"waves": waves, "open_waves": 2 if is_open else 1, "window": window, "opened_seconds": opened}
        world.offered = assignment(before.number + 1, digest, before, **common)
        self.published_at = world.seconds

    @rule()
    def abort(self) -> None:
        """Publishes the content before under a new number."""
        offered = self.world.offered
        assert offered
        if offered.before:
            self.world.offered = assignment(offered.number + 1, offered.before.variants[0].digest, Before(offered.number, offered.variants))

    @rule(paused=st.booleans(), is_open=st.booleans())
    def go_on(self, paused: bool, is_open: bool) -> None:
        offered = self.world.offered
        assert offered
        waves = len(offered.waves) if is_open else offered.open_waves
        before, probation, window = offered.before, offered.probation, offered.window
        common = {"waves": offered.waves, "open_waves": waves, "probation": probation, "window": window, "paused": paused}
        common["opened_seconds"] = offered.opened_seconds
        self.world.offered = assignment(offered.number, offered.variants[0].digest, before, **common)

    # What happens to the device.

    @precondition(lambda self: self.world.state)
    @rule(events_in_a_row=st.integers(1, 12))
    def go_well(self, events_in_a_row: int) -> None:
        self._go_well(events_in_a_row)

    @precondition(lambda self: self.world.state)
    @rule(events_in_a_row=st.integers(1, 6))
    def go_a_little(self, events_in_a_row: int) -> None:
        self._go_well(events_in_a_row)

    @rule(kind=st.sampled_from([GOOD, *BAD]), events_in_a_row=st.integers(1, 12))
    def publish_and_go(self, kind: str, events_in_a_row: int) -> None:
        self.publish(kind, True, True)
        if self.world.state:
            self._go_well(events_in_a_row)

    def _go_well(self, events_in_a_row: int) -> None:
        world = self.world
        for _ in range(events_in_a_row):
            if world.pending:
                world.answer()
            else:
                world.tick(max(0.0, wakes_at(world.running) - world.seconds))

    @precondition(lambda self: self.world.state and self.world.pending)
    @rule(kill=kills)
    def answer(self, kill: int | None) -> None:
        self._note_interruption(kill)
        self.world.answer(most_effects=kill)

    @precondition(lambda self: self.world.state and self.world.pending)
    @rule(reason=st.sampled_from(TRANSPORT + DEVICE), kill=kills)
    def answer_wrong(self, reason: Reason, kill: int | None) -> None:
        asked = self.world.pending[0]
        if isinstance(asked, Check) and reason not in TRANSPORT:
            return
        if isinstance(asked, Serve) and reason not in DEVICE:
            return
        self._note_interruption(kill)
        self.world.answer(reason, kill)

    @precondition(lambda self: self.world.state)
    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 61.0, 1000.0, DAY]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @precondition(lambda self: self.world.state and self.world.served)
    @rule(reason=st.sampled_from([Reason.CRASHED, Reason.HUNG]))
    def crash(self, reason: Reason) -> None:
        assert self.world.served
        self.crashed.add(self.world.served)
        self.world.crash(reason)

    @precondition(lambda self: self.world.state and self.world.disk.number > 1 and any(isinstance(it, Check) for it in self.world.pending))
    @rule(is_old=st.booleans())
    def replay(self, is_old: bool) -> None:
        """Somebody answers with an old assignment, or with another one of the same number."""
        world, kept = self.world, self.world.disk
        world.pending = [it for it in world.pending if not isinstance(it, Check)]
        world.give(events.Checked(assignment(1, digest_of(1), open_waves=0) if is_old else assignment(kept.number, digest_of(99))))
        assert (world.disk.number, world.disk.identity) == (kept.number, kept.identity)

    @precondition(lambda self: self.world.state)
    @rule()
    def roll_back(self) -> None:
        self.world.give(events.RollBack())

    @precondition(lambda self: self.world.state)
    @rule(stale=st.sampled_from(["fetched", "fetch failed", "serving of nothing", "measured", "crashed"]), index=st.integers(1, 4))
    def late(self, stale: str, index: int) -> None:
        """An answer comes that nobody waits for any more."""
        digest = digest_of(index)
        if digest == self.world.served:
            return
        found: dict[str, events.Event] = {
            "fetch failed": events.FetchFailed(digest, Reason.UNREACHABLE),
            "measured": events.Measured(digest),
            "crashed": events.Crashed(digest),
        }
        if event := found.get(stale):
            self.world.give(event)

    @rule()
    def kill(self) -> None:
        self._note_interruption(0)
        self.world.kill()

    @rule()
    def cut_power(self) -> None:
        if trial := self.world.disk.trial:
            self.cuts[trial] = self.cuts.get(trial, 0) + 1
        self.world.cut_power()

    @precondition(lambda self: self.world.state)
    @rule()
    def stop(self) -> None:
        if self.world.disk_fault:  # it cannot be written down that it was in order
            self._note_interruption(0)
        self.world.stop()

    @precondition(lambda self: not self.world.state)
    @rule(kill=kills)
    def boot(self, kill: int | None) -> None:
        self._boot(kill)

    def _boot(self, kill: int | None) -> None:
        self._note_interruption(kill)
        self.world.boot(kill)

    @rule(reason=st.sampled_from([None, None, Reason.DISK_FULL, Reason.DISK_READ_ONLY]))
    def change_disk(self, reason: Reason | None) -> None:
        self.world.disk_fault = reason

    @precondition(lambda self: self.world.slots)
    @rule(data=st.data())
    def lose_slot(self, data: st.DataObject) -> None:
        self.world.slots.discard(data.draw(st.sampled_from(sorted(self.world.slots))))

    @rule(offset=st.sampled_from([None, 0.0, 1_800_000_000.0]))
    def change_clock(self, offset: float | None) -> None:
        self.world.utc_offset = offset

    @precondition(lambda self: self.world.state and self.world.state.phase is Phase.WAITING)
    @rule()
    def lose_the_time_in_front_of_a_window(self) -> None:
        self.world.utc_offset = None
        self._go_well(4)

    def _note_interruption(self, kill: int | None) -> None:
        if kill is not None and self.world.disk.trial:
            self.interrupted[self.world.disk.trial] = self.interrupted.get(self.world.disk.trial, 0) + 1

    # What always holds.

    @invariant()
    def numbers_never_go_back(self) -> None:
        world = getattr(self, "world", None)
        if world:
            assert world.disk.number >= self.highest
            self.highest = world.disk.number

    @invariant()
    def nothing_but_the_release_is_a_releases_fault(self) -> None:
        if world := getattr(self, "world", None):
            for it in blames(world.said):
                if it.outcome is Outcome.UNFIT and it.digest not in self.crashed:
                    assert world.kinds[it.digest] != GOOD, it
                is_guilty = world.kinds[it.digest] != GOOD or it.digest in self.crashed
                assert is_guilty or self.interrupted.get(it.digest, 0) >= world.settings.most_trial_boots, it

    @invariant()
    def each_step_was_right(self) -> None:
        world = getattr(self, "world", None)
        for index, (event, effects) in enumerate(world.log[self.seen :] if world else [], self.seen):
            kept, (offered, now, confirmed) = None, world.told[index]
            for effect in effects:
                if isinstance(effect, Persist):
                    kept = effect.kept
                    confirmed = None if world.disk_fault else kept.current
                if isinstance(effect, Sweep) and confirmed:
                    assert confirmed in effect.keep, "the confirmed content is removed"
                if isinstance(effect, Fetch) and offered and now.utc_seconds and (begins := offered.begins("camera-1", {})):
                    assert effect.variant not in offered.variants or now.utc_seconds >= sum(begins), "begun before its minute"
                if isinstance(effect, Serve) and effect.digest and kept and kept.trial == effect.digest and event is not None:
                    is_look = isinstance(event, (events.Checked, events.Unchanged))
                    assert is_look or isinstance(event, (events.Crashed, events.Tick)), f"a trial began without a look: {event}"
                    if is_look and kept.trial_boots == kept.trial_reboots == 0:
                        self.began_rightly(effect.digest, offered, now)
        if world:
            self.seen = len(world.log)

    def began_rightly(self, digest: str, offered: Assignment | None, now: Moment) -> None:
        """At that very look the store offers it to this device, holds nothing back, and it is the device's time to change."""
        assert offered
        wanted = offered.wanted("camera-1", {}, "*")
        assert wanted, "withdrawn"
        assert wanted.variant, "withdrawn"
        assert wanted.variant.digest == digest, "withdrawn, or superseded"
        assert not offered.paused, "begun while it is held back"
        if offered.window:
            if now.utc_seconds is None:
                assert now.seconds - self.published_at >= DAY, "without the time of day, and not waited for long enough"
            else:
                later_seconds = offered.window.jitter_seconds * draw(f"{offered.salt}/window", "camera-1") // WHOLE_SHARE
                begins = offered.window.from_minute * 60 + later_seconds // 60 * 60
                assert begins <= now.utc_seconds % DAY < offered.window.to_minute * 60, "outside of its own window"

    @invariant()
    def what_is_served_is_whole_tested_and_kept(self) -> None:
        world = getattr(self, "world", None)
        if world and world.served:
            assert world.kinds[world.served] not in ("no bundle", "fails", "ends the self-test")

    @invariant()
    def what_is_asked_for_is_asked_once(self) -> None:
        world = getattr(self, "world", None)
        if world and world.state:
            assert sum(isinstance(it, Check) for it in world.pending) <= 1
            assert sum(isinstance(it, Fetch) for it in world.pending) <= 1

    def teardown(self) -> None:
        """From wherever it is: once store, disk and clock work, the device comes to what it is to have, and says so."""
        world = getattr(self, "world", None)
        if world is None:
            return
        world.disk_fault, world.utc_offset = None, 1_800_000_000.0
        if world.state is None:
            world.boot()
        offered = world.offered
        assert offered
        world.offered = assignment(
            offered.number,
            offered.variants[0].digest,
            offered.before,
            waves=offered.waves,
            open_waves=offered.open_waves,
            probation=offered.probation,
            window=offered.window,
            opened_seconds=offered.opened_seconds,
        )
        # Windows are polled for: half an hour each is a settled device's day.
        world.settle(most_steps=2500)
        self.numbers_never_go_back()
        self.nothing_but_the_release_is_a_releases_fault()
        self.each_step_was_right()
        wanted = world.offered.wanted("camera-1", {}, "*")
        if wanted and wanted.variant:
            verdict = world.disk.verdict
            assert verdict
            assert verdict.is_against or (world.disk.current == world.served == wanted.variant.digest)
            last = [it for it in world.said if (it.number, it.digest) == (wanted.number, wanted.variant.digest)][-1]
            assert (last.outcome, last.reason) == (verdict.outcome, verdict.reason)
            is_fine = world.kinds[wanted.variant.digest] == GOOD and wanted.variant.digest not in {*self.crashed, *self.interrupted}
            is_fine = is_fine and self.cuts.get(wanted.variant.digest, 0) <= world.settings.most_trial_reboots
            assert not is_fine or verdict.outcome is Outcome.CONFIRMED or verdict.reason is Reason.HELD_BY_OPERATOR
            assert variant_of(wanted.variant.digest) == wanted.variant


TestLife = pytest.mark.slow(Life.TestCase)
TestLife.settings = hypothesis_settings(stateful_step_count=40)
