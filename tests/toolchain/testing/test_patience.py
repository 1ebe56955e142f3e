import subprocess
import sys
import time

import pytest
from toolchain.testing import patience
from toolchain.testing.patience import Deadline, measure_slowness, wait_until


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("took_seconds", "slow"), [(0.0, 1.0), (patience.IDLE_SECONDS, 1.0), (4 * patience.IDLE_SECONDS, 4.0), (1e3, 10.0)]
)
def test_a_machine_is_as_slow_as_its_work_took_longer_than_an_idle_ones_within_bounds(took_seconds: float, slow: float) -> None:
    clock = Clock()

    def work() -> None:
        clock.now += took_seconds

    assert measure_slowness(work, clock) == pytest.approx(slow)


def test_an_idle_machine_has_just_its_seconds() -> None:
    clock = Clock()
    deadline = Deadline(10, clock=clock, measure=lambda: 1.0)
    clock.now += 10
    assert not deadline.over()
    clock.now += 0.1
    assert deadline.over()


def test_a_slow_machine_has_as_many_more_and_keeps_them_when_it_is_fast_again() -> None:
    clock, found = Clock(), [3.0, 1.0]
    deadline = Deadline(10, clock=clock, measure=lambda: found.pop(0))
    clock.now += 11
    assert not deadline.over()
    clock.now += 18
    assert not deadline.over()
    clock.now += 2
    assert deadline.over()


def test_a_machine_is_measured_only_when_the_time_of_an_idle_one_is_over() -> None:
    clock, asked = Clock(), []
    deadline = Deadline(10, clock=clock, measure=lambda: asked.append(clock.now) or 1.0)
    for _ in range(9):
        clock.now += 1
        deadline.over()
    assert asked == []


def test_a_process_is_heard_to_its_end_and_one_that_hangs_is_given_up_when_a_slow_machine_has_had_its_time() -> None:
    with subprocess.Popen([sys.executable, "-c", "print('said')"], stdout=subprocess.PIPE, text=True) as process:
        assert patience.communicate(process, 60)[0] == "said\n"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.PIPE, text=True) as process:
        began = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired):
            patience.communicate(process, 0.2, measure=lambda: 2.0)
        assert time.monotonic() - began >= 0.4
        process.kill()


def test_what_is_waited_for_is_returned() -> None:
    values = iter([0, None, "there"])
    assert wait_until(lambda: next(values), 30, 0.001) == "there"


def test_what_never_comes_is_told_with_what_was_seen_last() -> None:
    def check() -> None:
        raise OSError("nobody listens")

    with pytest.raises(AssertionError, match="nobody listens"):
        wait_until(check, 0.01, 0.001)
