"""A process beside the server that reads and writes large JSON.

Python holds one lock while it parses a body or prints an array: 100 MB of JSON would keep every other client waiting for
seconds. Here such a job runs in a process of its own, one after the other, with a bound on its memory. It is started by
the first large job and ended after a very large one.

Messages on its standard input and output: a pickled head and its buffers, each after its length.
"""

import asyncio
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from isthmus.server.limits import LARGE_JOB_BYTES, MAX_HELPER_BYTES
from isthmus.server.rest_examples import ExamplesRequest, parse_examples
from isthmus_agent.protocol import PredictRequest, RestError, Signature, parse_predict, render_predict

_LENGTH_BYTES = 8
_JOBS = {"predict": parse_predict, "examples": parse_examples, "render": render_predict}


class Helper:
    """The process, from the server's side."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="helper")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    async def parse_predict(self, body: bytes | bytearray, signatures: Mapping[str, Signature] | RestError) -> PredictRequest:
        """As `isthmus_agent.protocol.parse_predict`."""
        return await self._run(len(body), "predict", pickle.PickleBuffer(body), signatures)  # type: ignore[no-any-return]

    async def parse_examples(self, body: bytes | bytearray) -> ExamplesRequest:
        """As `isthmus.server.rest_examples.parse_examples`."""
        return await self._run(len(body), "examples", pickle.PickleBuffer(body))  # type: ignore[no-any-return]

    async def render_predict(self, outputs: Mapping[str, Any], row: bool) -> bytes:
        """As `isthmus_agent.protocol.render_predict`."""
        size = sum(array.nbytes for array in outputs.values())
        return await self._run(size, "render", dict(outputs), row)  # type: ignore[no-any-return]

    async def _run(self, size: int, job: str, *arguments: Any) -> Any:
        # One thread: jobs wait for each other there, and one whose client has left does not begin.
        result = await asyncio.get_running_loop().run_in_executor(self._thread, self._exchange, size, job, arguments)
        if isinstance(result, RestError):
            raise result
        return result

    def _exchange(self, size: int, job: str, arguments: tuple[Any, ...]) -> Any:
        process = self._started()
        try:
            _send(process.stdin, (job, arguments))
            result = _receive(process.stdout)
        except (OSError, EOFError, pickle.PickleError):
            self._end()
            return RestError(503, "the process that reads large requests ended; try again", "UNAVAILABLE")
        if size > LARGE_JOB_BYTES:
            self._end()
        return result

    def _started(self) -> Any:
        with self._lock:
            if self._closed:
                raise RuntimeError("the server is stopping")
            if self._process is None or self._process.poll() is not None:
                path = os.pathsep.join(entry for entry in sys.path if entry)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
                )
            return self._process

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """End the process; a job under way fails."""
        with self._lock:
            self._closed = True
        self._end()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _send(stream: IO[bytes], message: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    stream.write(len(parts).to_bytes(_LENGTH_BYTES, "little"))
    for part in parts:
        stream.write(part.nbytes.to_bytes(_LENGTH_BYTES, "little"))
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    parts = [_read(stream, _read_number(stream)) for _ in range(_read_number(stream))]
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - from our own process


def _read_number(stream: IO[bytes]) -> int:
    return int.from_bytes(_read(stream, _LENGTH_BYTES), "little")


def _read(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return data


def _do(job: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return _JOBS[job](*arguments)  # type: ignore[operator]
    except RestError as error:
        return error
    except MemoryError:
        return RestError(429, f"this takes more than {MAX_HELPER_BYTES} bytes of memory to read or write as JSON", "RESOURCE_EXHAUSTED")


def main() -> None:
    """Do jobs until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_HELPER_BYTES, MAX_HELPER_BYTES))
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            job, arguments = _receive(requests)
        except EOFError:
            return
        except MemoryError:
            return  # what is left of the message cannot be skipped
        result = _do(job, arguments)
        del arguments
        _send(replies, result)
        del result


if __name__ == "__main__":
    main()
