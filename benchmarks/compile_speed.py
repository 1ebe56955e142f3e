"""What compiling costs: `python benchmarks/compile_speed.py [--runs N] [--json FILE]`.

- one after the other: two models, each cold in a process of its own that imports TensorFlow, as two previews would;
- side by side: both cold in one process, as the preview of one program with two components does it;
- warm: both are in the cache; the time of the calls alone, without the interpreter's start.

The latency measurements of the two take turns, with everything else paused, so side by side can't be half.
Prints a table; `--json FILE` writes the figures too.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import report

PROJECT = Path(__file__).resolve().parents[1]
GOAL = 0.75
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from isthmus.compile import CompileRequest, compile_release
from isthmus.release.cache import ReleaseCache

base, cache, *models = sys.argv[1:]

async def main():
    requests = [CompileRequest(model.partition("=")[0], model.partition("=")[2], "int8", base_directory=Path(base)) for model in models]
    await asyncio.gather(*(compile_release(request, ReleaseCache(Path(cache)), lambda _: None) for request in requests))

started = time.perf_counter()
asyncio.run(main())
print(time.perf_counter() - started)
"""
MODELS = ("first=models/digits", "second=models/digits")


def compile_in_a_process(cache: Path, *models: str) -> tuple[float, float]:
    """Seconds of the calls, and of the whole process."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "components")}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(PROJECT), str(cache), *models], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"compiling failed:\n{done.stderr}")
    return float(done.stdout), time.perf_counter() - started


def measure(runs: int, models: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds of each run, by what was measured. The kinds take turns, so that a machine whose speed drifts favours none."""
    found: dict[str, list[float]] = {"one after the other": [], "side by side": [], "warm": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as scratch:
            alone = [compile_in_a_process(Path(scratch) / "alone", model)[1] for model in models]
            found["one after the other"].append(sum(alone))
            found["side by side"].append(compile_in_a_process(Path(scratch) / "together", *models)[1])
            found["warm"].append(compile_in_a_process(Path(scratch) / "together", *models)[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", action="append", help="NAME=SOURCE; give two")
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    options = parser.parse_args()
    found = measure(options.runs, tuple(options.model or MODELS))
    report(found, "side by side", "one after the other", goal=str(GOAL), decimals=3, file=options.json)


if __name__ == "__main__":
    main()
