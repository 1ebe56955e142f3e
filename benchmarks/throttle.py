"""Slows a process down: it is stopped for a share of every twentieth of a second. A server of half the speed, on one machine."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PERIOD_SECONDS = 0.05


@contextmanager
def throttled(pid: int, share: float) -> Iterator[None]:
    """The process runs for that share (0 to 1) of the time, until this ends or the process does."""
    over = threading.Event()

    def beat() -> None:
        with suppress(ProcessLookupError):
            while not over.is_set():
                os.kill(pid, signal.SIGCONT)
                over.wait(PERIOD_SECONDS * share)
                if share < 1:
                    os.kill(pid, signal.SIGSTOP)
                    over.wait(PERIOD_SECONDS * (1 - share))
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
