"""A thread that does one thing after the other."""

import queue
import threading
from collections.abc import Callable


class Worker:
    """A daemon: what waits for a network must not keep the process from ending. Everything that is written is written durably."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Does this after what was asked for before. It must not raise."""
        self._jobs.put(job)

    def _run(self) -> None:
        while True:
            self._jobs.get()()
