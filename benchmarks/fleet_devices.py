"""A fleet of 10,000 simulated devices against a SeaweedFS of its own: real metadata, requests, disks and gates; virtual clocks.

    python benchmarks/fleet_devices.py [--devices N] [--whole N] [--folder FOLDER]

Brings a first content to all, then four bad releases: one that ends the interpreter on a request, one that hangs on one, one that is slow,
and one whose devices are never heard of again; then a good one in three waves. `--whole` devices of the canary wave are whole programs
with real models. Says what was measured, and ends with 1 where something was not kept. FOLDER: for the devices' disks, best in memory.
Figures are in docs/performance.md.
"""

import argparse
import json
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from report import machine
from tests import seaweedfs
from tests.fleet_store import MemoryStore
from tests.isthmus_agent import contents
from tests.simulated.device import Kind, SimulatedDevice
from tests.simulated.fleet import FLEET, PREFIX, SECRET, Content, ListedMemory, SimulatedFleet, Site
from tests.simulated.line import BUNDLE, IDLE, REPORT
from tests.simulated.rollout import Plan, Progress, Watch, bring
from tests.simulated.rollout import release as told
from tests.simulated.whole import WholeAgents

from isthmus.fleet.gates import Gate, plan_gates
from isthmus.fleet.waves import Wave, plan_waves
from isthmus.release.store import Store
from isthmus.repository.access import Area, read_identities, with_identities
from isthmus.repository.changes import opened
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish
from isthmus_agent.core.state import Settings
from isthmus_agent.formats import roster as rosters
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.roster import Device

POLL_SECONDS, HEARTBEAT_SECONDS, LOOK_SECONDS = 600.0, 1800.0, 120.0
MOST_REQUESTS = 6
"""A device and update: timestamp, snapshot, fleet role, bundle, one more look right before the switch, report."""
SIZES = (100, 1_000, 10_000)
TRIES = 3
SLOW_ROWS = [[600_000.0, 2.0, 3.0, 1.0]]


@dataclass(frozen=True)
class Release:
    """name: for people. rows: of a request that shows what is wrong with it."""

    name: str
    content: Content
    rows: object = None


@dataclass
class Findings:
    """What was not kept."""

    broken: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def keep(self, is_kept: bool, text: str) -> None:
        self.say(f"{'  ' if is_kept else 'NOT KEPT: '}{text}")
        if not is_kept:
            self.broken.append(text)


def bad_releases() -> list[Release]:
    crashes, hangs = Kind(bad_request_seconds=20), Kind(bad_request_seconds=20, bad_reason=Reason.HUNG)
    golden = {"inputs": {"x": SLOW_ROWS}, "outputs": {"probabilities": [[0.5, 0.5]]}}
    manifest = contents.manifest_of([("x", "float32", (-1, 4))], [("probabilities", "float32", (-1, 2))], version=5)
    loop = (Path(contents.__file__).parent / "server" / "loop.tflite").read_bytes()
    return [
        Release("ends on a request", Content(contents.fmod_content(), crashes), contents.DIVIDES),
        Release("hangs on a request", Content(contents.loop_content(), hangs), contents.LOOPS),
        Release("is slow", Content(contents.content_of(loop, manifest, golden), Kind(p95_microseconds=200_000))),
        Release("is never heard of again", Content(contents.tiny_content(9), Kind(is_silent=True))),
    ]


@contextmanager
def timed(findings: Findings, what: str, devices: int) -> Iterable[None]:
    """Says how long a part took."""
    wall, mine = time.perf_counter(), time.process_time()
    yield
    wall, mine = time.perf_counter() - wall, time.process_time() - mine
    findings.say(f"{what}: {wall:.0f} s by the clock, {mine:.0f} s of this process, {1000 * mine / devices:.1f} ms a device")


def requests_of_update(device: SimulatedDevice) -> list[str]:
    """All that a device asked for its last update: from the timestamp that told of it to the report."""
    log = device.line.log
    at = max(index for index, (_, kind) in enumerate(log) if kind == BUNDLE)
    begin = max(index for index in range(at) if log[index][1] == "timestamp")
    end = next(index for index in range(at, len(log)) if log[index][1] == REPORT)
    return [kind for _, kind in log[begin : end + 1]]


def good(fleet: SimulatedFleet, release: Release, plan: Plan, watch: Watch, findings: Findings) -> None:
    count, before = len(fleet.devices), Counter(fleet.traffic.total)
    begun = fleet.agenda.now
    with timed(findings, "a good release in three waves", count):
        progress = bring(fleet, release.content, plan, watch)
    findings.keep(progress.outcome == "pass", f"it passed: {progress.verdict.reason if progress.verdict else ''}")
    fleet.agenda.run(fleet.agenda.now + POLL_SECONDS)
    late = [name for name, it in fleet.devices.items() if it.state.kept.current != release.content.digest]
    last = max(it.confirmed.get(release.content.digest, 0.0) for it in fleet.devices.values())
    opened = ", ".join(f"{at - begun:.0f}" for at in progress.opened)
    findings.keep(not late, f"all {count} devices confirmed it after {(last - begun) / 60:.0f} virtual minutes; waves opened at {opened} s")
    updates = [requests_of_update(it) for it in fleet.devices.values()]
    most = max(len(it) for it in updates)
    findings.keep(most <= MOST_REQUESTS, f"requests a device and update: {most} at most; {dict(Counter(updates[0]))}")
    used = fleet.traffic.total - before
    findings.say(f"  over the whole rollout, a device: {', '.join(f'{kind} {it / count:.2f}' for kind, it in sorted(used.items()))}")
    look_costs(progress, findings)
    puts = progress.puts[1:]  # of the last one too, which says that the release has passed
    findings.keep(set(puts) == {3}, f"opening a wave writes {sorted(set(puts))} objects, in {max(progress.publishing[1:]):.3f} s at most")


def look_costs(progress: Progress, findings: Findings) -> None:
    look, seconds = progress.looks[-1], progress.looking[-1]
    count = len(look.reports)
    findings.keep(look.requests <= count // 1000 + 2, f"a look at {count} reports: {look.requests} LISTs, no GET, {seconds:.2f} s")


def idle(fleet: SimulatedFleet, findings: Findings) -> None:
    fleet.agenda.run(fleet.agenda.now + 1.2 * POLL_SECONDS)
    before, count, begun = Counter(fleet.traffic.total), len(fleet.devices), fleet.agenda.now
    fleet.agenda.run(begun + POLL_SECONDS)
    used = fleet.traffic.total - before
    polls = used.pop(IDLE)
    only_reports = set(used) <= {REPORT, "old report", "root probe"}  # that one once an hour
    findings.keep(
        only_reports and 0.8 * count < polls < 1.2 * count,
        f"idle, a device and poll: {polls / count:.2f} conditional GETs, beside {dict(used)}",
    )


def bad(fleet: SimulatedFleet, release: Release, plan: Plan, watch: Watch, findings: Findings) -> None:
    with timed(findings, f"a release that {release.name}", len(fleet.devices)):
        progress = bring(fleet, release.content, plan, watch)
    minutes = (progress.ended - progress.opened[0]) / 60
    why = progress.verdict.reason if progress.verdict else ""
    canary, *others = progress.waves
    is_stopped = progress.outcome in {"abort", "inconclusive"} and len(progress.opened) == 1
    findings.keep(is_stopped, f"{progress.outcome} in the canary wave after {minutes:.0f} virtual minutes: {why}")
    hurt = fleet.touched(progress.number, canary.devices)
    touched = [len(fleet.touched(progress.number, wave.devices)) for wave in others]
    findings.keep(not any(touched), f"{len(hurt)} of the canary's {len(canary.devices)} devices had it; of the next waves' {touched}")


def ratios(findings: Findings) -> None:
    """What publishing and a preview take, by the size of the roster; without devices, on a store in memory."""
    rows = []
    for size in SIZES:
        with TemporaryDirectory() as folder:
            store = MemoryStore()
            names = [f"camera-{number:06}" for number in range(size)]
            others = [Device(name, "small", {"site": "a"}) for name in names]
            site = Site(Place(store, PREFIX), ListedMemory(store.objects), "http://127.0.0.1/bucket/")
            fleet = SimulatedFleet(site, [], Path(folder), others=others)
            plan, planned, published = Plan(), [], []
            document = fleet.roster.to_json()
            for number in range(TRIES):
                begun = time.process_time()
                found = rosters.from_json(document)
                read = time.process_time() - begun
                waves = plan_waves(plan.waves, found.devices, "ab" * 8)
                plan_gates([(it.signed.name, len(it.devices), plan.gate) for it in waves])
                planned.append((read, time.process_time() - begun - read))
                content = Content(contents.tiny_content(number))
                files = {content.path: content.packed}
                for change in (told(content, waves, "ab" * 8, plan, datetime.now(UTC)), opened):
                    begun = time.process_time()
                    publish(site.place, fleet.keyring, FLEET, change, files)
                    published.append(time.process_time() - begun)
            rows.append((size, statistics.median(published), *(min(it) for it in zip(*planned, strict=True))))
    for size, published, read, planned in rows:
        ratio = f"{published / rows[0][1]:.2f} x"
        findings.say(
            f"  a roster of {size:>7}: a publishing {published:.4f} s ({ratio}), reading the roster {read:.3f} s, "
            f"planning waves and gates {planned:.3f} s"
        )
    findings.keep(rows[2][1] < 3 * rows[0][1], "a publishing takes no longer for more devices")


def watch_of(agents: WholeAgents | None, release: Release, findings: Findings) -> Watch:
    """Has the whole agents of the canary catch up with the virtual clock: at the first look they give their verdicts, in their own time."""

    def watch(progress: Progress) -> None:
        said = len(progress.looks[-1].reports) if progress.looks else 0
        sys.stderr.write(f"{time.perf_counter():.0f} s: {release.name}, wave {len(progress.opened)}, {said} reports\n")
        if agents is None or progress.looks:
            return
        if release.content.kind.is_silent:
            return  # they were killed
        if release.rows is not None:
            agents.await_served(release.content.plain)
            agents.ask(release.rows)
        outcomes = Counter(agents.await_outcomes(progress.number).values())
        findings.say(f"  {len(agents.names)} whole agents: {dict(outcomes)}")

    return watch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--whole", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    findings = Findings()
    findings.say(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}: {options.devices} devices, {options.whole} of them whole agents")
    ratios(findings)
    whole = [f"whole-{number:03}" for number in range(options.whole)]
    names = [f"camera-{number:06}" for number in range(options.devices - options.whole)]
    canary = max(options.devices // 100, 10, 2 * options.whole)
    gate = Gate(max_failure_percent=10, soak_seconds=60, deadline_seconds=1800)
    waves = (Wave(devices=[*whole, *names[: canary - len(whole)]]), Wave(percent=10), Wave(percent=100))
    plan = Plan(waves, gate, Probation(60, max_p95_microseconds=50_000), LOOK_SECONDS)
    with TemporaryDirectory(dir=options.folder) as folder, seaweedfs.running() as server:
        store = Store(server.address, f"bucket-{uuid.uuid4().hex[:8]}")
        store.ensure_bucket()
        others = [Device(name, "small", {"site": "a"}) for name in whole]
        site = Site(Place(store, PREFIX), store, f"{server.address.endpoint}/{store.bucket}/", has_identities=True)
        with timed(findings, "a roster, and each device's disk", options.devices):
            settings = Settings(poll_seconds=POLL_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS)
            fleet = SimulatedFleet(site, names, Path(folder), settings=settings, others=others)
        document = with_identities(read_identities(server.identities), Area(store.bucket, PREFIX, FLEET), fleet.roster.devices, SECRET)
        server.stop()
        server.identities.write_text(json.dumps(document))
        server.start()
        agents = WholeAgents(fleet, whole, Path(folder) / "whole") if whole else None
        try:
            run(fleet, agents, plan, findings)
        finally:
            if agents:
                agents.kill()
    if findings.broken:
        findings.say(f"{len(findings.broken)} things were not kept")
    return min(1, len(findings.broken))


def run(fleet: SimulatedFleet, agents: WholeAgents | None, plan: Plan, findings: Findings) -> None:
    count = len(fleet.devices)
    first = Release("first", Content(contents.tiny_content(1)))
    fleet.boot(POLL_SECONDS)
    if agents:
        with timed(findings, f"{len(agents.names)} whole agents start", len(agents.names)):
            agents.start()
    with timed(findings, "a first content for all at once", count):
        at_once = Plan(
            (Wave(percent=100),), Gate(max_failure_percent=10, soak_seconds=60, deadline_seconds=1800), plan.probation, LOOK_SECONDS
        )
        progress = bring(fleet, first.content, at_once, watch_of(agents, first, findings))
    findings.keep(progress.outcome == "pass", f"it passed: {progress.verdict.reason if progress.verdict else ''}")
    look_costs(progress, findings)
    for release in bad_releases():
        if agents and release.content.kind.is_silent:
            agents.kill()
        bad(fleet, release, plan, watch_of(agents, release, findings), findings)
    if agents:
        agents.start()
    fleet.revive()
    idle(fleet, findings)
    second = Release("second", Content(contents.tiny_content(2)))
    good(fleet, second, plan, watch_of(agents, second, findings), findings)


if __name__ == "__main__":
    sys.exit(main())
