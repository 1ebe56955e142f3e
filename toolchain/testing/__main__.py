"""The whole run: all parts, what failed once more, and one closing line. See docs/testing.md."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from toolchain.prepare.steps import note
from toolchain.testing import RELEASES, lanes, outcomes, patience, phases
from toolchain.testing.outcomes import Outcomes

FOLDER = Path("build") / "tests"
REPORT = "report.json"
"""Of the last run, in FOLDER: what was flaky is counted there."""
MOST_UNITS = 20
"""If more than so many failed it was not by chance: nothing is run again."""
OK, TESTS_FAILED, NO_TESTS = 0, 1, 5
"""pytest's statuses; any other one is no result."""
MOST_PROCESSES = 4
END_SECONDS = 30.0
SLOWEST = 40


def say(text: str) -> None:
    print(f"isthmus: {text}", flush=True)


def xdist() -> tuple[str, ...]:
    """Options for tests side by side: one process more than there are cores, since tests wait for what they started."""
    return f"--numprocesses={min(MOST_PROCESSES, len(os.sched_getaffinity(0)) + 1)}", "--dist=loadfile", "--no-loadscope-reorder"


@dataclass(frozen=True)
class Part:
    """A pytest process. name: see `lanes`. options: beside those of the whole run."""

    name: str
    folder: Path
    options: tuple[str, ...] = ()

    @property
    def _slug(self) -> str:
        return self.name.replace(",", "").replace(" ", "-")

    @property
    def outcomes_file(self) -> Path:
        return self.folder / f"{self._slug}.json"

    @property
    def log(self) -> Path:
        return self.folder / f"{self._slug}.log"

    def command(self, arguments: Sequence[str]) -> list[str]:
        own = [f"--outcomes={self.outcomes_file}", "-o", f"cache_dir={self.folder / f'{self._slug}-cache'}"]
        return [sys.executable, "-m", "pytest", *own, *self.options, *arguments]


@dataclass(frozen=True)
class Ended:
    """A part that has ended: pytest's status, and what it wrote down."""

    part: Part
    status: int
    outcomes: Outcomes
    seconds: float


@dataclass(frozen=True)
class _Running:
    """A part that runs. began: of the monotonic clock. rest: of its row. is_shown: whether its words are shown as they come."""

    part: Part
    process: "subprocess.Popen[bytes]"
    began: float
    rest: deque[Part]
    is_shown: bool


def run_beside(rows: Sequence[Sequence[Part]], arguments: Sequence[str], environ: Mapping[str, str]) -> list[Ended]:
    """Runs rows of parts at the same time, the parts of a row one after another; a part without a result ends its row.

    The words of the first row's are shown as they come, the others' when all have ended.
    """
    ended: list[Ended] = []
    with ExitStack() as stack:

        def start(row: deque[Part], is_shown: bool) -> _Running:
            part = row.popleft()
            log = None if is_shown else stack.enter_context(part.log.open("wb"))
            process = subprocess.Popen(part.command(arguments), env=dict(environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(_end, process)
            return _Running(part, process, time.monotonic(), row, is_shown)

        running = [start(deque(row), row is rows[0]) for row in rows]
        while running:
            for it in [it for it in running if it.process.poll() is not None]:
                running.remove(it)
                seconds = time.monotonic() - it.began
                note(f"tests: {it.part.name}", seconds)
                ended.append(Ended(it.part, it.process.returncode, outcomes.read(it.part.outcomes_file), seconds))
                if it.rest and _all_usable(ended[-1:]):
                    running.append(start(it.rest, it.is_shown))
            time.sleep(0.2)
    for each in ended:
        if each.part.log.is_file() and each.outcomes:
            say(f"what the part `{each.part.name}` said:")
            print(each.part.log.read_text(encoding="utf-8", errors="replace"), flush=True)
        say(told(each))
    return ended


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends what still runs because this process was interrupted. pytest ends what its tests started, if it is asked as Ctrl-C asks.

    A terminal's Ctrl-C has reached it already, and a second one would interrupt just that: so it is waited for first.
    """
    for number in (None, signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            if number is not None:
                process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)


def told(ended: Ended) -> str:
    """One line about a part, which nobody takes for the closing line of the run."""
    numbers = ", ".join(f"{name} {number}" for name, number in outcomes.counts(ended.outcomes, []).items())
    return f"part `{ended.part.name}` ended with status {ended.status} after {ended.seconds:.0f} s: {numbers or 'it has no such tests'}"


def run_again(first: Outcomes, folder: Path, environ: Mapping[str, str]) -> list[Ended]:
    """What failed, once more with nothing beside it; nothing where nothing did, or so much that it was not by chance."""
    units = outcomes.units(first)
    if not units:
        return []
    if len(units) > MOST_UNITS:
        say(f"{len(units)} tests and files failed, which is not by chance: none is run again")
        return []
    say(f"run again, alone: {', '.join(units)}")
    file = folder / "again-units.json"
    file.write_text(json.dumps(units), encoding="utf-8")
    names = list(dict.fromkeys(unit.split("::")[0] for unit in units))
    # What the run's arguments picked is what failed: these are not needed any more.
    return run_beside([[Part(lanes.AGAIN, folder, (f"--units={file}", *names))]], [], environ)


def main(arguments: Sequence[str]) -> int:
    """Runs all tests, or those that pytest's arguments pick; returns the exit status."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no part outlives this process
    folder = FOLDER.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environ = {**os.environ, RELEASES: str(folder / "releases")}
    slowness = patience.measure_slowness()
    say(f"this machine takes {slowness:.1f} times as long as an idle one, and deadlines with it; the report will be {FOLDER / REPORT}")
    ended: list[Ended] = []
    options = {lanes.SIDE_BY_SIDE: xdist()}
    for wave in lanes.WAVES:
        if _all_usable(ended):
            rows = [[Part(name, folder, (f"--part={name}", *options.get(name, ()))) for name in row] for row in wave]
            ended += run_beside(rows, arguments, environ)
    first: Outcomes = {name: outcome for each in ended for name, outcome in each.outcomes.items()}
    again = run_again(first, folder, environ) if _all_usable(ended) else []
    return _finish(
        folder, [*ended, *again], first, {name: it for each in again for name, it in each.outcomes.items()}, time.monotonic() - began
    )


def _all_usable(ended: Sequence[Ended]) -> bool:
    return all(each.status in {OK, TESTS_FAILED, NO_TESTS} for each in ended)


def _finish(folder: Path, ended: Sequence[Ended], first: Outcomes, again: Outcomes, seconds: float) -> int:
    """Tells what was skipped, flaky and failed, writes the report, prints the closing line; returns the exit status."""
    all_tests = {**first, **again}
    flaky, failed = outcomes.flaky(first, again), outcomes.failed(all_tests)
    skipped = Counter(outcome.reason for outcome in all_tests.values() if outcome.outcome == outcomes.SKIPPED)
    numbers = outcomes.counts(all_tests, flaky)
    report = {
        "counts": numbers,
        "seconds": round(seconds, 1),
        "slowness_at_the_end": round(patience.measure_slowness(), 2),
        "flaky": flaky,
        "failed": failed,
        "skipped": dict(skipped),
        "slowest_files": outcomes.slowest_files(first, SLOWEST),
        "parts": {each.part.name: {"status": each.status, "seconds": round(each.seconds, 1)} for each in ended},
    }
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    for reason, number in skipped.most_common():
        say(f"skipped {number}: {reason}")
    for name in flaky:
        say(f"FLAKY {name}: it failed at first, and passed when it was run again, alone")
    for name in failed:
        say(f"FAILED {name}")
    broken = [each for each in ended if not _all_usable([each])]
    for each in broken:
        say(f"the part `{each.part.name}` has no result: pytest ended with status {each.status}")
    phases.show()
    print(outcomes.closing_line(numbers, seconds), flush=True)
    if broken:
        return broken[0].status if broken[0].status > 0 else TESTS_FAILED
    return TESTS_FAILED if failed else OK if all_tests else NO_TESTS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
