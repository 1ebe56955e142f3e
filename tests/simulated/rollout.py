"""A release brought to a simulated fleet, wave by wave, by its signed assignment and the gates."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.simulated.fleet import FLEET, Content, SimulatedFleet

from isthmus.fleet.gates import Gate, WaveGate, plan_gates
from isthmus.fleet.judging import GateVerdict, Tally, judge_open, tally
from isthmus.fleet.signed import signed_gate
from isthmus.fleet.waves import PlannedWave, Wave, plan_waves
from isthmus.repository.changes import aborted, opened, passed, seconds_at
from isthmus.repository.publish import Change, publish
from isthmus.repository.reports import Look
from isthmus_agent.formats.assignment import Assignment, Before
from isthmus_agent.formats.probation import Probation


@dataclass(frozen=True)
class Plan:
    """look_seconds: between two looks."""

    waves: Sequence[Wave] = (Wave(percent=2), Wave(percent=10), Wave(percent=100))
    gate: Gate = field(default_factory=lambda: Gate(max_failure_percent=10, soak_seconds=60, deadline_seconds=3600, when_unclear="pass"))
    probation: Probation = field(default_factory=lambda: Probation(60, max_p95_microseconds=20_000))
    look_seconds: float = 60.0


@dataclass
class Progress:
    """What became of it. opened: when each wave was. publishing, looking: real seconds of each. puts: objects that a publishing wrote."""

    number: int
    waves: tuple[PlannedWave, ...]
    opened: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    puts: list[int] = field(default_factory=list)
    publishing: list[float] = field(default_factory=list)
    looking: list[float] = field(default_factory=list)
    ended: float = 0.0
    verdict: GateVerdict | None = None

    @property
    def outcome(self) -> str:
        """pass, abort or inconclusive; empty while it goes on."""
        return self.verdict.outcome if self.verdict else ""


Watch = Callable[[Progress], None]


def bring(fleet: SimulatedFleet, content: Content, plan: Plan | None = None, watch: Watch = lambda _: None) -> Progress:
    """Publishes, looks, and opens wave after wave until all have passed, or a gate stops it: then the content before it is told again.

    watch: called at each look, before it.
    """
    plan = plan or Plan()
    fleet.kinds[content.digest] = content.kind
    salt = content.digest[7:23]
    waves = plan_waves(plan.waves, fleet.roster.devices, salt)
    gates = plan_gates([(it.signed.name, len(it.devices), plan.gate) for it in waves])
    progress = Progress(0, waves)
    begin = release(content, waves, salt, plan, fleet.agenda.utc)
    progress.number = _told(fleet, progress, begin, {content.path: content.packed}).number
    progress.opened.append(fleet.agenda.now)
    while not progress.outcome:
        fleet.agenda.run(fleet.agenda.now + plan.look_seconds)
        watch(progress)
        verdict = _judged(fleet, content, progress, gates)
        now = fleet.agenda.utc
        if verdict.outcome == "pass" and len(progress.opened) < len(waves):
            _told(fleet, progress, lambda told, number, now=now: opened(told, number, now))
            progress.opened.append(fleet.agenda.now)
        elif verdict.outcome != "wait":
            progress.verdict, progress.ended = verdict, fleet.agenda.now
            end = passed if verdict.outcome == "pass" else aborted
            _told(fleet, progress, lambda told, number, end=end, now=now: end(told, number, now))
    return progress


def release(content: Content, waves: Sequence[PlannedWave], salt: str, plan: Plan, now: datetime) -> Change:
    """A change that tells the fleet of a content, with its first wave open."""

    def change(told: Assignment | None, number: int) -> Assignment:
        before = Before(told.number, told.variants) if told else None
        signed = tuple(replace(it.signed, gate=signed_gate(plan.gate)) for it in waves)
        at = (seconds_at(now),)
        variants, probation = (content.variant,), plan.probation
        return Assignment(FLEET, number, salt, variants, signed, 1, before=before, probation=probation, opened_seconds=at)

    return change


def _told(fleet: SimulatedFleet, progress: Progress, change: Change, files: dict[str, bytes] | None = None) -> Assignment:
    begun = time.process_time()
    published = publish(fleet.site.place, fleet.keyring, FLEET, change, files, now=fleet.agenda.utc)
    progress.publishing.append(time.process_time() - begun)
    progress.puts.append(len(published.puts))
    return published.assignment


def _judged(fleet: SimulatedFleet, content: Content, progress: Progress, gates: Sequence[WaveGate]) -> GateVerdict:
    begun = time.process_time()
    found = fleet.look(progress.number, [content.digest], progress.looks[-1] if progress.looks else None)
    progress.looking.append(time.process_time() - begun)
    progress.looks.append(found)
    count = len(progress.opened)
    gate = gates[0].gate
    seen: list[Tally] = [tally(it.devices, found.reports, gate, found.unclear) for it in progress.waves[:count]]
    elapsed = [fleet.agenda.now - at for at in progress.opened]
    return judge_open(gates[:count], seen, elapsed)
