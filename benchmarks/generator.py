"""Open-loop load by vegeta (`load_generator/`), built once from its pinned Go module."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.sizing.formulas.simulation import Simulated, summarise

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "benchmarks" / "load_generator"
TIMEOUT_SECONDS = 60
# A gateway gives a fresh server its whole share only after 10 s (docs/gateway.md).
WARM_UP_SECONDS = 15.0

sys.path.insert(0, str(REPOSITORY))

from toolchain.prepare import go  # noqa: E402  (the repository's own tools are not installed)
from toolchain.prepare.layout import load  # noqa: E402


@dataclass(frozen=True)
class Load:
    """What was seen after the warm-up. times_ms: of all answers, in the order of sending. failures: reason → how many."""

    sent: int
    per_second: float
    times_ms: NDArray[np.float64]
    failures: Counter[str]

    def summary(self) -> Simulated:
        return summarise(self.times_ms)


def program() -> Path:
    """The load generator; the first call builds it."""
    commands = go.Commands(SOURCE, (".",), "the load generator (vegeta)")
    return go.provide(load(REPOSITORY), "load_generator", commands) / "load_generator"


def drive(url: str, bodies: Path, per_second: float, seconds: float, seed: int) -> Load:
    """Requests at random times (Poisson) for so long, after the warm-up. Raises SystemExit where the generator fails."""
    command = [program(), "-url", url, "-bodies", bodies, "-rate", per_second, "-seconds", WARM_UP_SECONDS + seconds, "-seed", seed]
    done = subprocess.run(
        [*map(str, command), "-timeout", f"{TIMEOUT_SECONDS}s"], capture_output=True, text=True, check=False,
        timeout=WARM_UP_SECONDS + seconds + 2 * TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    answers = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda it: it["at_ms"])
    counted = [it for it in answers if it["at_ms"] >= 1000 * WARM_UP_SECONDS]
    good = [it["latency_ms"] for it in counted if it["status"] == 200]
    failures = Counter(it.get("error") or str(it["status"]) for it in counted if it["status"] != 200)
    return Load(len(counted), len(counted) / seconds, np.array(good), failures)
