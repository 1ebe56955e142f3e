"""What went wrong with a job, as the error that says who can mend it."""

import signal
from collections.abc import Mapping
from pathlib import Path

from isthmus.compile.request import CompileRequest
from isthmus.compile.workers.pool import JobDeadlineError, JobError
from isthmus.compile.workers.process import WorkerLostError
from isthmus.errors import GateError, InputError, IsthmusError, PlatformError, Problem, ResourceFullError, SourceError

FAILURES = (JobError, JobDeadlineError, WorkerLostError)
_INPUT_ERRORS: Mapping[str, type[InputError]] = {kind.__name__: kind for kind in (SourceError, GateError, InputError)}
# Signals by which a process ends that did something it must not: the work of a native library on input that it cannot bear.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP)
_NO_MEMORY = (b"std::bad_alloc", b"Cannot allocate memory", b"OOM when allocating", b"MemoryError")
_ENOUGH = "Fix: close what else runs, compile on a larger machine, or choose a smaller model"


class OutOfMemoryError(ResourceFullError):
    """The memory was not enough for a job."""


def explained(error: Exception, request: CompileRequest, doing: str, log: Path, cache_directory: Path) -> IsthmusError:
    """The error to raise for one of FAILURES.

    Args:
        doing: what the job was for, as in "while it was at …".
        log: where the worker's last words are written, if the message names them.
    """
    if isinstance(error, JobDeadlineError):
        return _too_slow(request, doing)
    if isinstance(error, WorkerLostError):
        return _lost(error, request, doing, log)
    assert isinstance(error, JobError)  # noqa: S101 - one of FAILURES
    return _answered(error, request, doing, log, cache_directory)


def _answered(error: JobError, request: CompileRequest, doing: str, log: Path, cache_directory: Path) -> IsthmusError:
    answer = error.answer
    if answer["event"] == "input":
        kind = _INPUT_ERRORS.get(answer["error"], InputError)
        return kind([Problem(**problem) for problem in answer["problems"]])
    if answer["event"] == "full":
        return disk_full(cache_directory)
    if answer["event"] == "memory":
        return OutOfMemoryError(f"the memory is not enough to compile {request.model} ({doing}: {answer['text']}). {_ENOUGH}")
    if answer["event"] == "absent":
        return PlatformError(
            f"compiling {request.model} needs what is not installed: {answer['text']}. Fix: pip install 'isthmus[compile]'"
        )
    return _failed(request, str(answer.get("summary", "it gave no reason")), log, error.output + str(answer.get("text", "")).encode())


def _too_slow(request: CompileRequest, doing: str) -> SourceError:
    seconds = request.training_deadline_seconds
    return SourceError(
        [
            Problem(
                f"{request.model}.model",
                f"{doing} did not come to an end: its training may take {seconds} seconds",
                "a training function that ends in time",
                "let fit do less, or raise training_deadline_seconds",
            )
        ]
    )


def _lost(error: WorkerLostError, request: CompileRequest, doing: str, log: Path) -> IsthmusError:
    if error.code == -signal.SIGKILL:
        return OutOfMemoryError(
            f"the system killed the process that compiled {request.model} ({doing}), as a rule because memory ran out. {_ENOUGH}"
        )
    if -error.code in _CRASHES and any(word in error.output for word in _NO_MEMORY):
        return OutOfMemoryError(f"the memory is not enough to compile {request.model} ({doing}). {_ENOUGH}")
    if -error.code in _CRASHES:
        _write(log, error.output)
        name = signal.Signals(-error.code).name
        problem = Problem(
            f"{request.model}.model",
            f"TensorFlow or the interpreter crashed on {request.source!r} ({name}, {doing})",
            "a model that they can read",
            f"it may be damaged: save it again, or choose another recipe. The log: {log}",
        )
        return SourceError([problem])
    return _failed(request, f"it ended with code {error.code}", log, error.output)


def _failed(request: CompileRequest, reason: str, log: Path, output: bytes) -> IsthmusError:
    _write(log, output)
    return IsthmusError(f"the process that compiled {request.model} failed: {reason}. Its log: {log}")


def _write(log: Path, output: bytes) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(output + b"\n")


def disk_full(directory: Path) -> ResourceFullError:
    """The error for a full disk under the cache."""
    return ResourceFullError(
        f"the disk is full: nothing more can be written to {directory}. "
        "Fix: free some space, remove old releases with `isthmus cache gc`, or let ISTHMUS_CACHE_DIR name a folder on another disk"
    )
