"""Slows processes down to shares of one core, whatever the others do: in each tenth of a second each runs in a slot of its own.

`python throttle.py PID SHARE PID SHARE …` does so until it is ended: in a process of its own, which a busy caller does not hold up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

PERIOD_SECONDS = 0.1


@contextmanager
def in_turn(shares: Mapping[int, float]) -> Iterator[None]:
    """shares: of one core (together at most 1), by process id. Until this ends; all processes then run freely on their core."""
    core = max(os.sched_getaffinity(0))
    for pid in shares:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
    beat = subprocess.Popen([sys.executable, __file__, *(str(word) for pair in shares.items() for word in pair)])
    try:
        yield
    finally:
        beat.kill()
        beat.wait()
        for pid in shares:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def main(words: list[str]) -> None:
    """Goes on where a process has ended."""
    shares = [(int(pid), float(share)) for pid, share in zip(words[::2], words[1::2], strict=True)]
    for pid, _ in shares:
        os.kill(pid, signal.SIGSTOP)
    due = time.monotonic()
    while True:
        for pid, share in shares:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            due += PERIOD_SECONDS * share
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        due += PERIOD_SECONDS * (1 - sum(share for _, share in shares))
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic())  # what was late is not made up for


if __name__ == "__main__":
    main(sys.argv[1:])
