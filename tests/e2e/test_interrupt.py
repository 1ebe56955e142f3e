"""Ctrl-C in the middle of an `up`: it ends soon, the state stays whole, and the next `up` goes on."""

import os
import signal
import time

import pytest
from toolchain.testing import patience

pytestmark = pytest.mark.e2e


def test_an_interrupted_up_ends_soon_and_the_next_one_finishes(project, digits, eventually):
    project.configure(hybrids={"digits": digits()})
    assert project.preview().code == 0  # compiled now: the interrupt is to hit the deployment
    process = project.start("up", "--yes", "--skip-preview", "--stack", "test")
    # The supervisor is there, so processes are being made.
    eventually(lambda: next((project.root / ".isthmus").rglob("supervisord.conf"), None), seconds=60)
    os.killpg(process.pid, signal.SIGINT)
    asked = time.monotonic()
    text, _ = patience.communicate(process, 60)
    assert time.monotonic() - asked < patience.scaled(10), text
    assert process.returncode != 0
    assert project.state()["deployment"]  # readable: nothing half-written
    done = project.up()
    assert done.code == 0, done
    assert project.up_without_changes().code == 0


def test_an_interrupted_cold_preview_leaves_no_worker_and_no_half_made_release(project, digits, eventually, processes_of, tmp_path):
    project.environment["ISTHMUS_CACHE_DIR"] = str(tmp_path / "cache")
    project.configure(hybrids={"digits": digits()})
    process = project.start("preview", "--stack", "test")

    def workers() -> list[int]:
        return [pid for pid, command in processes_of(tmp_path).items() if "isthmus.compile.workers.worker" in command]

    eventually(workers, seconds=60)
    os.killpg(process.pid, signal.SIGINT)
    patience.communicate(process, 60)
    eventually(lambda: not workers(), seconds=10)
    assert not list((tmp_path / "cache").rglob("manifest.json"))
    assert project.preview().code == 0
