"""`python -m toolchain.testing.beside "NAME: COMMAND"…`: commands of the shell side by side, each told on one line when it has ended.

What a command printed is shown where it failed; where it did not, its last line alone. While they run, a line now and then says which
still do. The exit status is the first one that is not 0, in the order of the commands. All of them run to their ends: one run says all that
is wrong. A signal that ends this process ends them, too, with all that they started.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from toolchain.prepare.steps import say

POLL_SECONDS = 0.05
PROGRESS_SECONDS = 15.0
STOP_SECONDS = 20.0
_PERCENT = re.compile(r"\d+%")


@dataclass(frozen=True)
class Part:
    """One command that runs. began: of the monotonic clock."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    began: float

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def progress(self) -> str:
        """Its name, and how far it says that it is."""
        percents = _PERCENT.findall(self.printed)
        return f"{self.name} ({percents[-1]})" if percents else self.name

    def tell(self) -> str:
        """Shows what it printed where it failed; returns the line that says how it went."""
        status, printed = self.process.returncode, self.printed.strip()
        if status:
            print(printed, flush=True)
        last = printed.splitlines()[-1].strip("= ") if printed else ""
        end = f"FAILED with status {status}" if status else "all is well"
        line = f"{self.name}: {end} after {time.monotonic() - self.began:.0f} s" + (f": {last}" if last else "")
        say(line)
        return line

    def stop(self) -> None:
        """Ends it and all that it started: as a Ctrl-C does at first, upon which pytest takes down what its tests had up."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + STOP_SECONDS
            self._send(number)
            while self._send(0) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

    def _send(self, number: int) -> bool:
        """Sends a signal to all of it (0: none). Whether there was anything to send it to."""
        self.process.poll()  # takes note of its end, so that it is no longer there
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    named = [argument.partition(":")[::2] for argument in arguments]
    waiting: dict[str, Part] = {}
    statuses: dict[str, int] = {}
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="isthmus-beside-") as folder, _heard() as signals:
        for name, command in named:
            waiting[name] = _start(name, command.strip(), Path(folder))
        said = time.monotonic()
        while waiting and not signals:
            for name, part in list(waiting.items()):
                if part.process.poll() is not None:
                    statuses[name] = part.process.returncode
                    told.append(part.tell())
                    del waiting[name]
            if waiting and time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                say(f"still running: {', '.join(part.progress for part in waiting.values())}")
            time.sleep(POLL_SECONDS)
        for part in waiting.values():
            part.stop()
        if waiting:
            say(f"stopped by {signal.Signals(signals[0]).name}: {', '.join(waiting)}")
            return 128 + signals[0]
    if any(statuses.values()):  # what is wrong lies further up by now
        for line in told:
            say(line)
    return next((statuses[name] for name, _ in named if statuses[name]), 0)


def _start(name: str, command: str, folder: Path) -> Part:
    log = folder / name
    with log.open("wb") as file:
        # In a session of its own, so that a Ctrl-C comes here alone, and all that it started can be ended at once.
        process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    return Part(name, process, log, time.monotonic())


@contextlib.contextmanager
def _heard() -> Iterator[list[int]]:
    """The signals that came of those that end a process. They are looked at between two steps, so that none of them is left half done."""
    came: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)

    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
