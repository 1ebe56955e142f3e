"""Compiling without TensorFlow in this process: out of the cache, or by a worker process."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from isthmus.compile.key import compile_key, resolve
from isthmus.compile.request import CompileRequest
from isthmus.compile.source import Source
from isthmus.errors import IsthmusError, PlatformError, Problem, ResourceFullError, SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import Release

LOCK_POLL_SECONDS = 0.2
LOG_TAIL_BYTES = 4000
MESSAGE_BYTES = 1 << 20
# A worker takes about a core and 1 GB: more of them than cores are no faster.
MAX_WORKERS = os.cpu_count() or 1
# What a worker may know of this process's environment: a compile must not depend on the rest, and credentials stay here.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
_FIXED = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",  # nothing is written into the user's folders
    "PYTHONUNBUFFERED": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its kernels round differently from one run to the next
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_DETERMINISTIC_OPS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_slots: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = weakref.WeakKeyDictionary()
_T = TypeVar("_T")


async def compile_release(request: CompileRequest, cache: ReleaseCache, progress: Callable[[str], None]) -> Release:
    """The release of a request: the cached one, or one that a worker process compiles now.

    Nothing is written outside the cache. Two callers with the same content, in whatever processes, compile once. A
    cancelled call ends its worker and removes what it had written.

    Args:
        progress: called on this loop with a line for the user, such as "step 2 of 6: convert the edge variant (int8)".

    Raises:
        SourceError: the source cannot be read, built or compiled.
        ResourceFullError: the disk or the memory is full.
        PlatformError: the cache's folder cannot be written, or what compiling needs is not installed.
        IsthmusError: the worker failed; its log's path is in the message.
    """
    if request.names_digest:
        return await _find_by_digest(request, cache)
    source = await asyncio.to_thread(resolve, request)
    key = await asyncio.to_thread(compile_key, request, source)
    release = await asyncio.to_thread(cache.get, key)
    if release is not None:
        return release
    with _explained_errors(cache.directory):
        async with _held(cache.lock(key), progress, request.model):
            release = await asyncio.to_thread(cache.get, key)
            return release or await _compile(request, source, key, cache, progress)


async def _find_by_digest(request: CompileRequest, cache: ReleaseCache) -> Release:
    release = await asyncio.to_thread(cache.find, request.source)
    if release is None:
        problem = Problem(
            f"{request.model}.model",
            f"there is no sound release {request.source} in {cache.directory}",
            "a release that was compiled or fetched before",
            "name the model's source instead, or fetch the release",
        )
        raise SourceError([problem])
    return release


async def _compile(request: CompileRequest, source: Source, key: str, cache: ReleaseCache, progress: Callable[[str], None]) -> Release:
    slot = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_WORKERS))
    async with slot:
        with cache.work_directory() as work:
            await _run_worker(request, source, work, cache.directory / "logs" / f"{key}.log", progress)
            if await asyncio.to_thread(compile_key, request, source) != key:
                problem = Problem(f"{request.model}.model", f"{request.source!r} changed while it was compiled", fix="run again")
                raise SourceError([problem])
            return await _finished(asyncio.to_thread(cache.publish, work / "release", key))


async def _finished(work: Awaitable[_T]) -> _T:
    """Awaits to the end also when cancelled: a thread cannot be stopped, and its folder must not be removed under it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@contextlib.asynccontextmanager
async def _held(lock: FileLock, progress: Callable[[str], None], model: str) -> AsyncIterator[None]:
    said = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if not said:
                progress(f"another process compiles {model}: waiting for it")
                said = True
            await asyncio.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _explained_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(directory) from error
        raise PlatformError(
            f"the cache folder {directory} cannot be used: {error.strerror or error}. "
            "Fix: make it writable, or let ISTHMUS_CACHE_DIR name another"
        ) from error


def disk_full(directory: Path) -> ResourceFullError:
    """The error for a full disk under the cache."""
    return ResourceFullError(
        f"the disk is full: nothing more can be written to {directory}. "
        "Fix: free some space, remove old releases there, or let ISTHMUS_CACHE_DIR name a folder on another disk"
    )


def worker_environment(environment: dict[str, str], temporary: Path) -> dict[str, str]:
    """The worker's environment: what it needs of ours, fixed settings, and temporary files inside the cache."""
    package_root = str(Path(__file__).parents[2])
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    path = os.pathsep.join([package_root, *filter(None, [passed_on.get("PYTHONPATH")])])
    folders = {name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP", "KERAS_HOME")}
    return {**passed_on, **_FIXED, **folders, "PYTHONPATH": path}


async def _run_worker(request: CompileRequest, source: Source, work: Path, log: Path, progress: Callable[[str], None]) -> None:
    temporary = work / "tmp"
    temporary.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "isthmus.compile.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=temporary,
        env=worker_environment(dict(os.environ), temporary),
        limit=MESSAGE_BYTES,
        start_new_session=True,  # so that the user's code's own children end with it
    )
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - they are pipes
    tail = asyncio.ensure_future(_tail(process.stderr))
    last: dict[str, Any] = {}
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(
                json.dumps({"source": asdict(source), "request": asdict(request), "work": work}, default=str).encode() + b"\n"
            )
            await process.stdin.drain()
        # Its standard input stays open until it has ended: that is how a worker notices that this process died.
        async for line in process.stdout:
            message = json.loads(line)
            if message["event"] == "progress":
                progress(message["text"])
            else:
                last = message
        code = await process.wait()
        output = await tail
    finally:
        tail.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await _finished(process.wait())
    if last.get("event") != "done" or code != 0:
        raise _worker_error(request, last, code, log=log, output=output, cache_directory=work.parents[1])


async def _tail(stream: asyncio.StreamReader) -> bytes:
    output = b""
    while block := await stream.read(65536):
        output = (output + block)[-LOG_TAIL_BYTES:]
    return output


def _worker_error(
    request: CompileRequest, last: dict[str, Any], code: int, *, log: Path, output: bytes, cache_directory: Path
) -> IsthmusError:
    if last.get("event") == "source":
        return SourceError([Problem(**problem) for problem in last["problems"]])
    if last.get("event") == "full":
        return disk_full(cache_directory)
    if last.get("event") == "absent":
        return PlatformError(f"compiling {request.model} needs what is not installed: {last['text']}. Fix: pip install 'isthmus[compile]'")
    if code == -signal.SIGKILL:
        return ResourceFullError(f"the system killed the process that compiled {request.model}, as a rule because memory ran out")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(output + str(last.get("text", "")).encode() + b"\n")
    reason = last.get("summary", f"it ended with code {code}")
    return IsthmusError(f"the process that compiled {request.model} failed: {reason}. Its log: {log}")
