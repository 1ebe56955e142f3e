"""Where the minutes of a run went: each phase notes when it began and ended, and the end of the run shows them all.

`python -m toolchain.testing.phases NAME COMMAND…` runs a command as a phase. The file is the one that the variable ISTHMUS_PHASES
names (see `toolchain.prepare.steps.phase`); without it nothing is noted.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.prepare.steps import PHASES, phase, say


@dataclass(frozen=True)
class Phase:
    """began, ended: seconds since 1970."""

    name: str
    began: float
    ended: float


def read(file: Path) -> list[Phase]:
    """What was noted so far, in the order of beginning; nothing where there is no such file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return sorted((Phase(**json.loads(line)) for line in lines), key=lambda it: it.began)


def table(phases: Iterable[Phase]) -> list[str]:
    """A line for each phase: when it began, counted from the first one's beginning, and how long it took, in minutes and seconds."""
    phases = sorted(phases, key=lambda it: it.began)
    if not phases:
        return []
    width, first = max(len(it.name) for it in phases), phases[0].began
    rows = [f"{it.name:<{width}}  {_clock(it.began - first):>7}  {_clock(it.ended - it.began):>7}" for it in phases]
    whole = max(it.ended for it in phases) - first
    return [f"{'phase':<{width}}  {'began':>7}  {'took':>7}", *rows, f"{'all':<{width}}  {'':>7}  {_clock(whole):>7}"]


def show() -> None:
    """Prints the table of what was noted."""
    if file := os.environ.get(PHASES):
        for line in table(read(Path(file))):
            say(line)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def main(arguments: Sequence[str]) -> int:
    """Returns the command's exit status."""
    name, *command = arguments
    with phase(name):
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
