"""The process that compiles: the only part of this package that imports TensorFlow.

Standard input: one line of JSON, the job. It stays open after that; its end means that the parent is gone, and ends this
process too. Standard output: lines of JSON.

    {"event": "progress", "text": …}
    {"event": "done"}                       the release lies in WORK/release
    {"event": "source", "problems": […]}    the user's source is at fault
    {"event": "full"}                       the disk is full
    {"event": "absent", "text": …}          TensorFlow, say, is not installed
    {"event": "failed", "summary": …, "text": TRACEBACK}
"""

import errno
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from isthmus.compile.request import CompileRequest
from isthmus.compile.source import Source
from isthmus.errors import SourceError

FULL_BYTES = 1 << 16
_OPTIONAL = (
    "tensorflow",
    "keras",
    "numpy",
    "ai_edge_litert",
    "litert_quantizer",
    "aiohttp",
    "grpc",
    "tensorflow_serving",
    "prometheus_client",
)


def _open_channel() -> TextIO:
    """Standard output for messages alone: what libraries and the user's code print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _compute_in_order() -> None:
    """One thread: sums in the same order give the same last bits."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _parse(job: dict[str, Any]) -> tuple[CompileRequest, Source, Path]:
    source, request = job["source"], job["request"]
    evaluation = source["evaluation"]
    found = Source(
        source["kind"],
        Path(source["path"]),
        source["name"],
        tuple((name, Path(path)) for name, path in source["files"]),
        Path(evaluation) if evaluation else None,
        Path(source["base_directory"]),
    )
    asked = CompileRequest(
        request["model"], request["source"], request["recipe"], request["version"], base_directory=Path(request["base_directory"])
    )
    return asked, found, Path(job["work"])


def _is_full(error: BaseException, work: Path) -> bool:
    """TensorFlow, h5py and others wrap what the system said, or drop it: the disk itself is asked too."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
        return True
    status = os.statvfs(work)
    return status.f_bavail * status.f_frsize < FULL_BYTES


def _outcome(error: BaseException, work: Path) -> dict[str, Any]:
    if isinstance(error, SourceError) and not (error.__cause__ and _is_full(error.__cause__, work)):
        return {"event": "source", "problems": [asdict(problem) for problem in error.problems]}
    if _is_full(error, work):
        return {"event": "full"}
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _OPTIONAL:
        return {"event": "absent", "text": str(error)}
    text = "".join(traceback.format_exception(error))
    return {"event": "failed", "summary": f"{type(error).__name__}: {error}"[:500], "text": text}


def main() -> int:
    channel = _open_channel()

    def send(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")

    # Read from the descriptor itself: a buffered reader would hold a lock that the watching thread needs at the end.
    line = b""
    while not line.endswith(b"\n") and (block := os.read(0, 1 << 16)):
        line += block
    if not line.endswith(b"\n"):
        return 1
    request, source, work = _parse(json.loads(line))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _compute_in_order()
        from isthmus.compile.build import build_release

        build_release(request, source, work / "release", lambda text: send({"event": "progress", "text": text}))
    except BaseException as error:  # SystemExit too: whatever ends this process is told to the parent
        send(_outcome(error, work))
        return 1
    send({"event": "done"})
    return 0


if __name__ == "__main__":
    # Without the interpreter's shutdown: threads of TensorFlow can hang in it, and there is nothing left to do.
    code = main()
    sys.stderr.flush()
    os._exit(code)
