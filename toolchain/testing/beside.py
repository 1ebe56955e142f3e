"""`python -m toolchain.testing.beside "NAME: COMMAND"…`: commands of the shell side by side, each told when it has ended, with its time.

It returns the first status that is not 0, in the order of the commands. All of them run to their ends: one run says all that is wrong.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from toolchain.prepare.steps import PHASES, say
from toolchain.testing import phases

POLL_SECONDS = 0.05


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    named = [argument.partition(":")[::2] for argument in arguments]
    with tempfile.TemporaryDirectory(prefix="isthmus-beside-") as folder:
        noted = Path(folder) / ".phases"
        waiting = {name: _start(name, command.strip(), Path(folder), noted) for name, command in named}
        statuses: dict[str, int] = {}
        try:
            while waiting:
                for name, process in list(waiting.items()):
                    if process.poll() is not None:
                        statuses[name] = process.returncode
                        _tell(name, process.returncode, Path(folder))
                        del waiting[name]
                time.sleep(POLL_SECONDS)
        finally:
            for process in waiting.values():  # this process was interrupted, and so were they
                process.wait()
        for line in phases.table(phases.read(noted)):
            say(line)
    return next((statuses[name] for name, _ in named if statuses[name]), 0)


def _start(name: str, command: str, folder: Path, noted: Path) -> "subprocess.Popen[bytes]":
    with (folder / name).open("wb") as log:
        program = [sys.executable, "-m", "toolchain.testing.phases", name, "sh", "-c", command]
        environ = {**os.environ, PHASES: str(noted)}
        return subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)


def _tell(name: str, status: int, folder: Path) -> None:
    print((folder / name).read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    say(f"{name}: {'all is well' if status == 0 else f'FAILED with status {status}'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
