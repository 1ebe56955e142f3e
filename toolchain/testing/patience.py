"""Deadlines that know how fast the machine is just now: seconds of an idle one, more of them where others work on it too."""

import subprocess
import time
from collections.abc import Callable
from typing import Any, AnyStr

# What `_work` takes on an idle core of the machine that deadlines were written on. Much longer than a scheduler's turn: who has slept is
# preferred for a while, and would find a busy machine idle.
IDLE_SECONDS = 0.2
MOST = 10.0
"""However slow the machine: by this factor a deadline grows at most."""
FRESH_SECONDS = 30.0

_measured: list[float] = []  # when, and how slow


def _work() -> int:
    total = 0
    for number in range(3_600_000):
        total += number & 3
    return total


def measure_slowness(work: Callable[[], object] = _work, clock: Callable[[], float] = time.perf_counter) -> float:
    """Slowness of the machine just now: how many times longer than an idle one it takes; 1 to MOST."""
    began = clock()
    work()
    return min(MOST, max(1.0, (clock() - began) / IDLE_SECONDS))


def slowness() -> float:
    """The last measured slowness, measured again when it is older than FRESH_SECONDS."""
    now = time.monotonic()
    if not _measured or now - _measured[0] > FRESH_SECONDS:
        _measured[:] = [now, measure_slowness()]
    return _measured[1]


def scaled(seconds: float) -> float:
    """Seconds that this machine needs now for what an idle one does in `seconds`."""
    return seconds * slowness()


class Deadline:
    """An end in `seconds` of an idle machine. Only when these are over is it asked how slow the machine is."""

    def __init__(
        self, seconds: float, *, clock: Callable[[], float] = time.monotonic, measure: Callable[[], float] = measure_slowness
    ) -> None:
        self.seconds, self._clock, self._measure = seconds, clock, measure
        self._began = clock()
        self._factor = 1.0

    @property
    def passed_seconds(self) -> float:
        """Seconds since it was set, by the clock on the wall."""
        return self._clock() - self._began

    @property
    def left_seconds(self) -> float:
        """Seconds until the machine is asked again, or it is over; 0 at least."""
        return max(0.0, self.seconds * self._factor - self.passed_seconds)

    def over(self) -> bool:
        """Whether the machine has had its time. A machine that was slow once has longer, even if it is fast again by now."""
        if self.passed_seconds <= self.seconds * self._factor:
            return False
        self._factor = max(self._factor, self._measure())
        return self.passed_seconds > self.seconds * self._factor


def communicate(
    process: "subprocess.Popen[AnyStr]", seconds: float, *, measure: Callable[[], float] = measure_slowness
) -> tuple[AnyStr, AnyStr]:
    """What a process says until its end. Raises subprocess.TimeoutExpired when the machine has had its time; it is left running."""
    deadline = Deadline(seconds, measure=measure)
    while True:
        try:
            return process.communicate(timeout=deadline.left_seconds + 0.1)
        except subprocess.TimeoutExpired:
            if deadline.over():
                raise


def wait_until(check: Callable[[], Any], seconds: float = 30.0, every_seconds: float = 0.1) -> Any:
    """The first true value of `check`, which is asked until then; what it raises counts as false.

    Raises:
        AssertionError: the deadline is over; with what the check last said.
    """
    deadline = Deadline(seconds)
    while True:
        try:
            if found := check():
                return found
            last: object = found
        except Exception as error:
            last = error
        if deadline.over():
            raise AssertionError(f"not within {deadline.passed_seconds:.0f} s: {last!r}")
        time.sleep(every_seconds)
