"""One worker process as the pool sees it: start, give it a job, pause, end.

Plain pipes and one thread for each process rather than asyncio's transports: a program may close its loop, or leave it in the
middle, while a worker is still there, and then has nothing to clean up. The thread ends the worker when the loop is closed;
the interpreter's end, however it comes, closes the pipe that the worker waits on.
"""

import asyncio
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from isthmus.compile import numerics

LOG_TAIL_BYTES = 4000
READ_BYTES = 1 << 16
CLOSED_LOOP_POLL_SECONDS = 1.0
# What a worker may know of this process's environment: a compile must not depend on the rest, and credentials stay here.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
_FIXED = {
    **numerics.ENVIRONMENT,
    "PYTHONDONTWRITEBYTECODE": "1",  # nothing is written into the user's folders
    "PYTHONUNBUFFERED": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# What names the job's temporary folder: each job has its own, empty when it begins.
TEMPORARY_FOLDERS = ("TMPDIR", "TEMP", "TMP", *numerics.EMPTY_FOLDERS)


def worker_environment(environment: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """The worker's environment: what it needs of ours, fixed settings, and temporary files inside the cache."""
    package_root = str(Path(__file__).parents[3])
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    path = os.pathsep.join([package_root, *filter(None, [passed_on.get("PYTHONPATH")])])
    folders = {name: str(temporary) for name in TEMPORARY_FOLDERS}
    return {**passed_on, **_FIXED, **folders, "PYTHONPATH": path}


class WorkerLostError(Exception):
    """The process ended before its job did. code: as of `Popen.returncode`. output: the end of what it wrote to standard error."""

    def __init__(self, code: int, output: bytes) -> None:
        super().__init__(f"the worker ended with code {code}")
        self.code = code
        self.output = output


class WorkerProcess:
    """A worker. Every method is called on the loop that it was made on.

    Args:
        arguments: of `isthmus.compile.workers.worker`.
        temporary: an existing folder, for what is written before the first job.
    """

    def __init__(self, arguments: list[str], temporary: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.output = b""
        self._paused_at: float | None = None
        self._paused_seconds = 0.0
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.jobs_begun = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "isthmus.compile.workers.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=temporary,
            env=worker_environment(os.environ, temporary),
            bufsize=0,
            # A group of its own, so that the user's code's own children are paused and end with it. In the same session, so that
            # a paused group whose parent dies is continued by the system, also where it cannot be asked for by name.
            process_group=0,
        )
        threading.Thread(target=self._listen, name=f"worker {self.process.pid}", daemon=True).start()

    async def do(self, kind: str, job: Mapping[str, Any], temporary: Path, progress: Callable[[str], None]) -> dict[str, Any]:
        """The worker's answer to a job, as its docstring has it. Raises WorkerLostError."""
        self.jobs_begun += 1
        self.output = b""
        self._paused_seconds = 0.0
        order = json.dumps({"kind": kind, "job": job, "temporary": str(temporary)}, default=str).encode() + b"\n"
        # In a thread: a worker that is still importing does read, but a paused one does not, and an order may fill the pipe.
        await asyncio.to_thread(self._write, order)
        while (message := await self._messages.get()) is not None:
            if message["event"] != "progress":
                return message
            progress(message["text"])
        raise WorkerLostError(self.process.returncode, self.output)

    def pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = time.monotonic()
            self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._paused_at is not None:
            self._paused_seconds += time.monotonic() - self._paused_at
            self._paused_at = None
            self._signal(signal.SIGCONT)

    def paused_seconds(self) -> float:
        """How long it was paused during its present job."""
        return self._paused_seconds + (time.monotonic() - self._paused_at if self._paused_at is not None else 0.0)

    def kill(self) -> None:
        """Ends the process and all that it started, at once. `ended` is set once it is gone."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        _signal_group(self.process, number)

    def _write(self, data: bytes) -> None:
        stream = _of(self.process.stdin)
        with contextlib.suppress(OSError):  # it has ended: its reader says so
            while data:
                data = data[stream.write(data) :]

    # What follows runs in the thread.

    def _listen(self) -> None:
        stdout, stderr = _of(self.process.stdout), _of(self.process.stderr)
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(CLOSED_LOOP_POLL_SECONDS)}
                if not ready and self._loop.is_closed():
                    break
                if stderr in ready:
                    self._collect(stderr, selector)
                if stdout in ready:
                    if not (block := stdout.read(READ_BYTES)):
                        break
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        self._deliver(json.loads(line))
        self._finish(stderr)

    def _collect(self, stream: IO[bytes], selector: selectors.BaseSelector) -> None:
        block = stream.read(READ_BYTES)
        self.output = (self.output + block)[-LOG_TAIL_BYTES:]
        if not block:
            selector.unregister(stream)

    def _finish(self, stderr: IO[bytes]) -> None:
        _signal_group(self.process, signal.SIGKILL)  # its children too; before the wait, as long as nobody else can have its number
        self.process.wait()
        os.set_blocking(stderr.fileno(), False)
        while block := stderr.read(READ_BYTES):
            self.output = (self.output + block)[-LOG_TAIL_BYTES:]
        for stream in (self.process.stdin, self.process.stdout, stderr):
            with contextlib.suppress(OSError):
                _of(stream).close()
        self._call(self.ended.set)
        self._call(self.ready.set)  # nobody shall wait for it in vain
        self._call(self._messages.put_nowait, None)

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            self._call(self.ready.set)
        else:
            self._call(self._messages.put_nowait, message)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(function, *arguments)


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _of(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - it is a pipe
    return stream
