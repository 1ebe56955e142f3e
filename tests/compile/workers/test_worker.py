"""What a worker says of an error, and that it says it whatever the job does."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.compile.request import CompileRequest
from isthmus.compile.workers import worker
from isthmus.compile.workers.failures import OutOfMemoryError, explained
from isthmus.compile.workers.pool import JobDeadlineError, JobError
from isthmus.compile.workers.process import WorkerLostError, worker_environment
from isthmus.errors import GateError, IsthmusError, PlatformError, Problem, ResourceFullError, SourceError

REQUEST = CompileRequest("digits", "models/digits", "int8")
PROBLEM = Problem("digits.model", "is wrong", "a right one", "mend it")


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's own."""


ERRORS = [
    (SourceError([PROBLEM]), "input", SourceError, "digits.model: is wrong; expected a right one. Fix: mend it"),
    (GateError([PROBLEM]), "input", GateError, "is wrong"),
    (OSError(errno.ENOSPC, "No space left on device"), "full", ResourceFullError, "the disk is full"),
    (_caused(SourceError([PROBLEM]), OSError(errno.EDQUOT, "Disk quota exceeded")), "full", ResourceFullError, "the disk is full"),
    (RuntimeError("; No space left on device"), "full", ResourceFullError, "isthmus cache gc"),
    (ResourceExhaustedError("SaveV2 variables; No space left on device"), "full", ResourceFullError, "the disk is full"),
    (MemoryError("no room"), "memory", OutOfMemoryError, "the memory is not enough to compile digits"),
    (ResourceExhaustedError("OOM when allocating"), "memory", OutOfMemoryError, "load"),
    (_caused(SourceError([PROBLEM]), MemoryError()), "memory", OutOfMemoryError, "the memory is not enough"),
    (ModuleNotFoundError("no tensorflow", name="tensorflow.python"), "absent", PlatformError, "pip install 'isthmus[compile]'"),
    (ModuleNotFoundError("no such", name="other"), "failed", IsthmusError, "ModuleNotFoundError: no such. Its log: "),
    (SystemExit(3), "failed", IsthmusError, "SystemExit: 3"),
]


@pytest.mark.parametrize(("error", "event", "kind", "message"), ERRORS)
def test_each_error_is_told_by_who_can_mend_it(error: BaseException, event: str, kind: type, message: str, tmp_path: Path) -> None:
    answer = json.loads(json.dumps(worker._outcome(error, tmp_path)))
    assert answer["event"] == event
    told = explained(JobError(answer, b"last words"), REQUEST, "load models/digits", tmp_path / "logs" / "log", tmp_path)
    assert type(told) is kind
    assert message in str(told)
    assert (tmp_path / "logs").exists() == (event == "failed")


LOST = [
    (-11, b"", SourceError, "crashed on 'models/digits' (SIGSEGV, int8)"),
    (-6, b"F0000 check failed", SourceError, "crashed on 'models/digits' (SIGABRT, int8)"),
    (-6, b"terminate called after throwing an instance of 'std::bad_alloc'", OutOfMemoryError, "the memory is not enough"),
    (-9, b"", OutOfMemoryError, "the system killed the process that compiled digits (int8)"),
    (9, b"", IsthmusError, "ended with code 9. Its log: "),
]


@pytest.mark.parametrize(("code", "output", "kind", "message"), LOST)
def test_each_way_to_die_is_told_by_who_can_mend_it(code: int, output: bytes, kind: type, message: str, tmp_path: Path) -> None:
    told = explained(WorkerLostError(code, output), REQUEST, "int8", tmp_path / "logs" / "log", tmp_path)
    assert type(told) is kind
    assert message in str(told)
    if "log:" in str(told):
        assert (tmp_path / "logs" / "log").read_bytes().startswith(output)


def test_a_job_that_does_not_end_is_told_with_the_deadline(tmp_path: Path) -> None:
    told = explained(JobDeadlineError(), REQUEST, "prune:80%", tmp_path / "log", tmp_path)
    assert isinstance(told, SourceError)
    assert "prune:80% did not come to an end: its training may take 900 seconds" in str(told)
    assert "training_deadline_seconds" in str(told)


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = worker_environment({**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, tmp_path)
    command = [sys.executable, "-m", "isthmus.compile.workers.worker", "--jobs", "pool_jobs:JOBS"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, process_group=0
    )
    with process:
        yield process
        process.kill()


def _says(process: "subprocess.Popen[str]", order: dict[str, Any] | None = None) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    if order:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    message: dict[str, Any] = json.loads(process.stdout.readline())
    return message


def test_a_worker_is_ready_and_answers_each_order_with_one_message(process: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert _says(process) == {"event": "ready"}
    order = {"kind": "echo", "job": {"x": 1}, "temporary": str(tmp_path)}
    for _ in range(2):
        assert _says(process, order) == {"event": "progress", "text": "half"}
        assert _says(process) == {"event": "done", "result": {"x": 1}}
    unknown = _says(process, {**order, "kind": "unknown"})
    assert (unknown["event"], unknown["summary"]) == ("failed", "KeyError: 'unknown'")


def test_a_worker_ends_when_its_input_does(process: "subprocess.Popen[str]") -> None:
    assert _says(process) == {"event": "ready"}
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == -9
