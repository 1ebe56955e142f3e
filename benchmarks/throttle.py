"""Slows a process down: it is stopped for a share of every twentieth of a second. A server of half the speed, on one machine.

`python throttle.py PID SHARE` does so until it is ended: in a process of its own, which a busy caller does not hold up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PERIOD_SECONDS = 0.05


@contextmanager
def throttled(pid: int, share: float) -> Iterator[None]:
    """The process runs for that share (0 to 1) of the time, until this ends or the process does."""
    beat = subprocess.Popen([sys.executable, __file__, str(pid), str(share)])
    try:
        yield
    finally:
        beat.kill()
        beat.wait()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def main(pid: int, share: float) -> None:
    """Ends with the process."""
    due = time.monotonic()
    with suppress(ProcessLookupError):
        while True:
            for number, part in ((signal.SIGCONT, share), (signal.SIGSTOP, 1 - share)):
                os.kill(pid, number)
                due += PERIOD_SECONDS * part
                time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic())  # what was late is not made up for


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
