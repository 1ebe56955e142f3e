"""What a preview costs: `python benchmarks/preview.py [--runs N]`.

Measured with the real engine, in a project of the benchmark's own:

- cold: nothing compiled yet (TensorFlow is imported, the model built, converted, measured);
- warm: the release is in the cache;
- by hand: the same program with the compiled values written in, so that nothing is hashed or looked up;
- up with no change, on the running stack;
- `isthmus plan --what-if demand=2x` on it (goal: less than a second).

Warm and by-hand runs take turns, so that a machine whose speed drifts does not favour one; the ratio is of medians.
Prints a table; `--json FILE` writes the figures too.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))


from report import report

from project import STACK, Project, digits

# The compiled values, written in: what a program without Isthmus's compiler would have to state itself.
BY_HAND = """
import isthmus.compiling as compiling
from isthmus.release.manifest import Manifest, Record, Release
from pathlib import Path

RELEASE = Release(Path("."), Manifest.from_bytes({manifest!r}), Record.from_bytes({record!r}))

async def given(request, cache, progress, **_):
    return RELEASE

compiling.compile_release = given
compiling.check_request = lambda request, path: []
"""


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def successful(project: Project, *words: str) -> None:
    done = project.pulumi(*words, "--stack", STACK)
    if done.code:
        raise SystemExit(f"pulumi {' '.join(words)} failed:\n{done.text}")


def asked(project: Project) -> None:
    done = project.isthmus("plan", STACK, "--what-if", "demand=2x")
    if done.code:
        raise SystemExit(f"isthmus plan failed:\n{done.text}")


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each run, by what was measured."""
    found: dict[str, list[float]] = {"cold preview": [], "warm preview": [], "preview by hand": [], "up, no change": [], "what-if": []}
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        (Path(scratch) / "a").mkdir()
        (Path(scratch) / "b").mkdir()
        warm, by_hand = Project(Path(scratch) / "a", cache), Project(Path(scratch) / "b", cache)
        arguments = digits()
        for project in (warm, by_hand):
            project.init()
            project.configure(hybrids={"digits": arguments})
        found["cold preview"].append(timed(lambda: successful(warm, "preview")))
        (manifest,) = cache.rglob("manifest.json")
        values = BY_HAND.format(manifest=manifest.read_bytes(), record=manifest.with_name("record.json").read_bytes())
        program = by_hand.root / "__main__.py"
        program.write_text(values + program.read_text())
        successful(by_hand, "preview")  # both have been read from disk once before the first counted run
        for _ in range(runs):
            found["warm preview"].append(timed(lambda: successful(warm, "preview")))
            found["preview by hand"].append(timed(lambda: successful(by_hand, "preview")))
        try:
            successful(warm, "up", "--yes")
            found["up, no change"] = [timed(lambda: successful(warm, "up", "--yes", "--expect-no-changes")) for _ in range(runs)]
            found["what-if"] = [timed(lambda: asked(warm)) for _ in range(runs)]
        finally:
            successful(warm, "destroy", "--yes")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    options = parser.parse_args()
    found = measure(options.runs)
    report(found, "warm preview", "preview by hand", goal="1.10", file=options.json)


if __name__ == "__main__":
    main()
