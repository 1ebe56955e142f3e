"""The process that does the jobs of compiling: the only part of this package that imports TensorFlow.

`python -m isthmus.compile.workers.worker [--jobs MODULE:TABLE] [--memory-bytes N]`. It imports TensorFlow once, says that it is ready, and
does one job after the other. The settings of Keras and the random seeds are the same before each, so that a release does not
depend on what was compiled before it.

Standard input: lines of JSON, {"kind": name in the table, "job": …, "temporary": folder}. Its end means that the parent is gone
or needs this process no longer, and ends it at once with all that it has started. Standard output: lines of JSON,

    {"event": "ready"}                             once, before the first job is begun
    {"event": "progress", "text": …}
    {"event": "done", "result": {…}}
    {"event": "input", "error": name, "problems": […]}   an InputError of that name: the user's source is at fault, say
    {"event": "full"}                              the disk is full
    {"event": "memory", "text": …}                 the memory is not enough
    {"event": "absent", "text": …}                 TensorFlow, say, is not installed
    {"event": "failed", "summary": …, "text": TRACEBACK}

Each job is answered by exactly one of the last six.
"""

import argparse
import contextlib
import errno
import gc
import importlib
import json
import os
import queue
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.compile.build import session
from isthmus.compile.workers.process import TEMPORARY_FOLDERS
from isthmus.errors import InputError

JOBS = "isthmus.compile.build.jobs:JOBS"
FULL_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY = ("ResourceExhaustedError", "std::bad_alloc", "Cannot allocate memory", "OOM when allocating")
_OPTIONAL = (
    "tensorflow",
    "keras",
    "numpy",
    "ai_edge_litert",
    "litert_quantizer",
    "flatbuffers",
    "httptools",
    "uvloop",
    "grpc",
    "grpc_health",
    "grpc_reflection",
    "tensorflow_serving",
)
Job = Callable[[dict[str, Any], Callable[[str], None]], dict[str, Any]]


def _open_channels() -> tuple[int, int]:
    """Standard input and output for messages alone: what libraries and the user's code print goes to standard error, and what
    they start reads nothing."""
    orders, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, answers


def _send(channel: int, message: Mapping[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(channel, data) :]


def _read(channel: int, orders: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Reads on while a job runs: that is how this process notices that its parent is gone."""
    rest = b""
    while block := os.read(channel, 1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            orders.put(json.loads(line))
    os.killpg(0, signal.SIGKILL)


def _wake_when_orphaned() -> None:
    """A paused process cannot notice that its parent died. On Linux it asks to be continued then, and notices."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT))


def _limit_memory(memory_bytes: int) -> None:
    """Refused memory is an error with a message; too much of it granted, and the system kills some process, at best this one."""
    if memory_bytes:
        with contextlib.suppress(OSError, ValueError):  # a lower limit is in force already
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _load(table: str) -> Mapping[str, Job]:
    module, _, name = table.partition(":")
    if table == JOBS:
        session.compute_in_order()
    jobs: Mapping[str, Job] = getattr(importlib.import_module(module), name)
    return jobs


def _start_afresh(temporary: Path) -> None:
    """Without what an earlier job left: its temporary folder, and what Keras keeps."""
    os.chdir(temporary)
    for name in TEMPORARY_FOLDERS:
        os.environ[name] = str(temporary)
    tempfile.tempdir = None
    session.start_afresh()
    gc.collect()


def _is_full(error: BaseException, folder: Path) -> bool:
    """TensorFlow, h5py and others wrap what the system said, or drop it: the disk itself is asked too."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
        return True
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < FULL_BYTES


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(word in f"{type(error).__name__}: {error}" for word in _OUT_OF_MEMORY)


def _outcome(error: BaseException, folder: Path) -> dict[str, Any]:
    causes = [error]
    while causes[-1].__cause__ is not None and causes[-1].__cause__ not in causes:
        causes.append(causes[-1].__cause__)
    # A mistake of the user's by itself, whatever the disk looks like; one that another error led to may be the disk's.
    if any(_is_full(cause, folder) for cause in (causes[1:] if isinstance(error, InputError) else causes)):
        return {"event": "full"}  # before the memory: TensorFlow has one name for both
    if any(map(_is_out_of_memory, causes)):
        return {"event": "memory", "text": f"{type(causes[-1]).__name__}: {causes[-1]}"[:300]}
    if isinstance(error, InputError):
        return {"event": "input", "error": type(error).__name__, "problems": [asdict(problem) for problem in error.problems]}
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _OPTIONAL:
        return {"event": "absent", "text": str(error)}
    text = "".join(traceback.format_exception(error))
    return {"event": "failed", "summary": f"{type(error).__name__}: {error}"[:500], "text": text}


def _do(order: Mapping[str, Any], jobs: Mapping[str, Job], progress: Callable[[str], None]) -> dict[str, Any]:
    """The answer to an order. SystemExit too is one: whatever the user's code raises is told to the parent."""
    temporary = Path(order["temporary"])
    try:
        _start_afresh(temporary)
        return {"event": "done", "result": jobs[order["kind"]](order["job"], progress)}
    except BaseException as error:
        return _outcome(error, temporary)
    finally:
        os.chdir("/")  # the folder is removed before the next job comes


def main() -> None:
    """Never returns: the end of standard input ends the process."""
    parser = argparse.ArgumentParser(prog="isthmus.compile.workers.worker")
    parser.add_argument("--jobs", default=JOBS)
    parser.add_argument("--memory-bytes", type=int, default=0)
    options = parser.parse_args()
    source, channel = _open_channels()
    _wake_when_orphaned()
    _limit_memory(options.memory_bytes)
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, orders), daemon=True).start()
    jobs: Mapping[str, Job] = {}
    failure: BaseException | None = None
    try:
        jobs = _load(options.jobs)
    except BaseException as error:  # told to the first job: nobody listens before
        failure = error
    _send(channel, {"event": "ready"})
    while True:
        order = orders.get()
        if failure is not None:
            answer = _outcome(failure, Path(order["temporary"]))
        else:
            answer = _do(order, jobs, lambda text: _send(channel, {"event": "progress", "text": text}))
        sys.stderr.flush()
        _send(channel, answer)


if __name__ == "__main__":
    main()
