"""A device without a machine: a store, a disk and a server as values, and an executor that does the core's effects on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from isthmus_agent.core import events
from isthmus_agent.core.effects import Cancel, Check, Effect, Fetch, Measure, Persist, Say, Serve, Sweep
from isthmus_agent.core.events import Event, Measurement
from isthmus_agent.core.state import Device, Kept, Moment, Phase, Settings, State
from isthmus_agent.core.step import start, step, wakes_at
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome, Reason

DAY = 86_400.0
GOOD = "good"
BAD = {
    "no bundle": Reason.BUNDLE_INVALID,
    "fails": Reason.SELF_TEST_FAILED,
    "ends the self-test": Reason.SELF_TEST_CRASHED,
    "slow": Reason.TOO_SLOW_IN_SERVICE,
    "moved": Reason.GOLDEN_PROBE_FAILED,
}
"""What is wrong with a content, and what is found out."""


def digest_of(index: int) -> str:
    return f"sha256:{index:064x}"


def variant_of(digest: str) -> Variant:
    return Variant("*", digest, f"cameras/{digest[7:]}.bundle", 1000)


def assignment(number: int, digest: str, before: Before | None = None, **more: object) -> Assignment:
    """An assignment to all devices, unless `more` says otherwise."""
    common = {"waves": (Wave("all", WHOLE_SHARE),), "open_waves": 1, "probation": Probation(60, max_p95_microseconds=20_000)}
    return Assignment("cameras", number, "00" * 8, (variant_of(digest),), before=before, **{**common, **more})  # type: ignore[arg-type]


@dataclass
class World:
    """disk: what was persisted. slots: the whole ones. kinds: of the contents, by digest. pending: what is to be answered, in order.

    log: each step; told: what the store offered at each, when that was, and what was confirmed before it.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    offered: Assignment | None = None
    disk: Kept = field(default_factory=Kept)
    slots: set[str] = field(default_factory=set)
    state: State | None = None
    served: str | None = None
    pending: list[Effect] = field(default_factory=list)
    said: list[Say] = field(default_factory=list)
    log: list[tuple[Event | None, tuple[Effect, ...]]] = field(default_factory=list)
    told: list[tuple[Assignment | None, Moment, str | None]] = field(default_factory=list)
    disk_fault: Reason | None = None
    seconds: float = 1000.0
    utc_offset: float | None = 1_800_000_000.0
    settings: Settings = field(default_factory=Settings)
    starts: int = 0
    boot_id: str = "boot-1"

    @property
    def now(self) -> Moment:
        return Moment(self.seconds, None if self.utc_offset is None else self.seconds + self.utc_offset)

    @property
    def running(self) -> State:
        assert self.state is not None
        return self.state

    # The machine.

    def boot(self, most_effects: int | None = None) -> None:
        """Starts the program from what the disk has."""
        self.pending, self.served = [], None
        self.starts += 1
        device = Device("camera-1", "cameras")
        held = frozenset(self.slots)
        self.state, effects = start(device, self.settings, self.disk, self.now, held=held, seed=f"s{self.starts}", boot_id=self.boot_id)
        self._did(None, effects, most_effects)

    def kill(self) -> None:
        """Ends the program, and not the machine."""
        self.state, self.pending, self.served = None, [], None

    def cut_power(self) -> None:
        """Ends the machine, which starts again."""
        self.kill()
        self.boot_id += "'"

    def stop(self) -> None:
        """Ends the program, as its operator does."""
        self.give(events.Stopping())
        self.kill()

    def give(self, event: Event, most_effects: int | None = None) -> tuple[Effect, ...]:
        """Has something happen. most_effects: after so many the program is killed."""
        self.state, effects = step(self.running, event, self.now)
        self._did(event, effects, most_effects)
        return effects

    def tick(self, seconds: float = 0.0) -> tuple[Effect, ...]:
        """Lets time pass."""
        self.seconds += seconds
        return self.give(events.Tick())

    def _did(self, event: Event | None, effects: tuple[Effect, ...], most: int | None) -> None:
        self.log.append((event, effects))
        self.told.append((self.offered, self.now, self.disk.current))
        for index, effect in enumerate(effects):
            if most is not None and index >= most:
                self.kill()
                return
            if isinstance(effect, Persist) and self.disk_fault:
                self.give(events.PersistFailed(self.disk_fault, self.disk, effects[index + 1 :]))
                return
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, Persist):
            self.disk = effect.kept
        elif isinstance(effect, Sweep):
            self.slots &= effect.keep
        elif isinstance(effect, Say):
            self.said.append(effect)
        elif isinstance(effect, Cancel):
            self.pending = [it for it in self.pending if not (isinstance(it, Fetch) and it.variant.digest == effect.digest)]
        elif isinstance(effect, Serve) and effect.digest is None:
            self.served = None
        else:
            self.pending.append(effect)

    # What answers.

    def answer(self, failing: Reason | None = None, most_effects: int | None = None) -> tuple[Effect, ...]:
        """Answers what was asked first. failing: the way it goes wrong, if it can go wrong so."""
        asked = self.pending.pop(0)
        return self.give(self._answer(asked, failing), most_effects)

    def _answer(self, asked: Effect, failing: Reason | None) -> Event:
        if isinstance(asked, Check):
            if failing or self.offered is None:
                return events.CheckFailed(failing or Reason.MISSING_OBJECT)
            is_known = asked.is_conditional and self.offered == self.running.assignment
            return events.Unchanged() if is_known else events.Checked(self.offered)
        if isinstance(asked, Fetch):
            digest = asked.variant.digest
            kind = BAD.get(self.kinds[digest])
            reason = failing or (kind if kind is Reason.BUNDLE_INVALID else None)
            if reason is None:
                self.slots.add(digest)
            return events.FetchFailed(digest, reason) if reason else events.Fetched(digest)
        if isinstance(asked, Serve):
            assert asked.digest
            return self._serve(asked.digest, failing)
        assert isinstance(asked, Measure)
        kind = self.kinds[asked.digest]
        return events.Measured(asked.digest, Measurement(kind != "moved", 30_000 if kind == "slow" else 10_000))

    def _serve(self, digest: str, failing: Reason | None) -> Event:
        if digest == self.served:
            return events.Serving(digest)
        if digest not in self.slots:
            return events.ServeFailed(digest, Reason.DAMAGED_SLOT)
        wrong = BAD.get(self.kinds[digest])
        reason = wrong if wrong in (Reason.SELF_TEST_FAILED, Reason.SELF_TEST_CRASHED) else failing
        if reason:
            return events.ServeFailed(digest, reason)
        self.served = digest
        return events.Serving(digest)

    def crash(self, reason: Reason = Reason.CRASHED) -> tuple[Effect, ...]:
        """Has the server end on a request."""
        assert self.served
        digest, self.served = self.served, None
        return self.give(events.Crashed(digest, reason))

    # Going on.

    def settle(self, most_steps: int = 300) -> int:
        """Answers and waits until there is nothing to do but to poll; returns how many events it took."""
        for count in range(most_steps):
            if self.is_settled:
                return count
            if self.pending:
                self.answer()
            else:
                self.tick(max(0.0, wakes_at(self.running) - self.seconds))
        raise AssertionError(f"not settled after {most_steps} events: {self.running}")

    @property
    def is_settled(self) -> bool:
        """Whether the device has what it is to have, or a verdict against it, or nothing to have; and serves what it ought to."""
        state, offered = self.running, self.offered
        if offered is None or self.pending or state.unsaved or state.assignment != offered or self.served != state.to_serve:
            return False
        wanted = offered.wanted(state.device.name, state.device.labels, state.device.device_class)
        if wanted is None or wanted.variant is None:
            return True
        verdict = self.disk.verdict
        is_decided = verdict is not None and (verdict.number, verdict.digest) == (wanted.number, wanted.variant.digest)
        return is_decided and verdict is not None and verdict.outcome is not Outcome.UPDATING and self.disk.trial is None

    def outcomes(self, digest: str | None = None) -> list[Outcome]:
        """What was said, in order."""
        return [it.outcome for it in self.said if digest in (None, it.digest)]


def blames(said: Sequence[Say]) -> list[Say]:
    """What was said against releases."""
    return [it for it in said if it.outcome.is_against_release]


def device_with(digest: str = digest_of(1), number: int = 1, **more: object) -> World:
    """A device that has confirmed a content."""
    world = World(kinds={digest_of(index): GOOD for index in range(1, 9)}, **more)  # type: ignore[arg-type]
    world.offered = assignment(number, digest)
    world.boot()
    world.settle()
    assert world.disk.current == digest
    return world


def offer(world: World, number: int, digest: str, **more: object) -> None:
    """Publishes an assignment."""
    world.offered = assignment(number, digest, **more)  # type: ignore[arg-type]


A, B, C = digest_of(1), digest_of(2), digest_of(3)


def on_the_way(phase: Phase, **more: object) -> World:
    """A device that serves A, brought to a phase on its way to B."""
    world = device_with(A)
    offer(world, 2, B, **more)
    world.seconds = world.running.poll_at
    world.tick()
    while world.running.phase is not phase:
        world.answer()
    return world
