"""Processes that are told apart from later ones with the same id."""

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from toolchain.cluster.supervise import Process, wait_until


def test_a_process_is_ended_once_and_a_later_one_with_its_id_never() -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        process = Process.of(child.pid)
        later = Process(process.pid, process.started + 1)
        assert process.alive
        assert not later.alive
        later.end()
        assert child.poll() is None
        process.end()
        assert child.wait(10) == -signal.SIGKILL
        process.end()
    finally:
        child.kill()
        child.wait()


def test_a_zombie_is_not_alive(eventually: Callable[..., None]) -> None:
    child = subprocess.Popen(["sleep", "600"])
    process = Process.of(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: not process.alive, "the end of the child")
    child.wait()
    with pytest.raises(ProcessLookupError):
        Process.of(child.pid)


def test_waiting_ends_at_the_deadline() -> None:
    assert not wait_until(lambda: False, 0.2)
    assert wait_until(lambda: True, 0)
