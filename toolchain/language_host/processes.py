"""Child processes of the host: started, streamed and stopped with all that they started themselves."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

INTERRUPT_GRACE_SECONDS = 5.0  # what the official host gives a program between an interrupt and its end
DRAIN_SECONDS = 1.0  # how long output of a process that has ended is awaited, if something it started holds the pipe


def _descendants(pid: int) -> list[Any]:
    """What the process started and did not set free: a daemon has a process group of its own, and lives on."""
    import psutil  # type: ignore[import-untyped, unused-ignore]  # slow to import, and rarely needed

    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(ProcessLookupError):
                if os.getpgid(child.pid) == os.getpgrp():
                    found.append(child)
    return found


def stop(process: "subprocess.Popen[bytes]", first: signal.Signals, grace_seconds: float) -> None:
    """Sends `first` to the process and kills it when the grace is over; then kills what it left running in its group.

    The children stay in the host's process group, so that the engine's own last resort, a signal to that group, reaches
    them even if the host is gone.
    """
    if process.poll() is not None:
        return
    started = _descendants(process.pid)
    with suppress(ProcessLookupError):
        process.send_signal(first)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        started = [*started, *_descendants(process.pid)]
        process.kill()
        process.wait()
    for child in started:  # psutil checks that the id has not been given to another process
        with suppress(Exception):
            child.kill()


class Children:
    """Every process that runs for a request, so that an interrupt of the host ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """`subprocess.Popen` with no standard input. Raises InterruptedError once the host is stopping."""
        with self._lock:
            if self._closed:
                raise InterruptedError("the language host is stopping")
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
            self._running.add(process)
            return process

    def forget(self, process: "subprocess.Popen[bytes]") -> None:
        """Call when the process has ended."""
        with self._lock:
            self._running.discard(process)

    def interrupt(self) -> None:
        """Interrupts what runs now, as Ctrl-C does; new processes may still start."""
        with self._lock:
            running = list(self._running)
        threads = [threading.Thread(target=stop, args=(process, signal.SIGINT, INTERRUPT_GRACE_SECONDS)) for process in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Interrupts what runs, and lets nothing start after."""
        with self._lock:
            self._closed = True
        self.interrupt()


def stream(process: "subprocess.Popen[bytes]") -> Generator[tuple[str, bytes], None, int]:
    """Yields (`stdout` or `stderr`, bytes) as they come from a process with both piped; returns its exit status."""
    chunks: queue.Queue[tuple[str, bytes]] = queue.Queue()

    def pump(name: str, pipe: Any) -> None:
        while chunk := os.read(pipe.fileno(), 65536):
            chunks.put((name, chunk))
        chunks.put((name, b""))

    def watch() -> None:
        process.wait()
        chunks.put(("exit", b""))

    for target, arguments in ((pump, ("stdout", process.stdout)), (pump, ("stderr", process.stderr)), (watch, ())):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    open_ends = {"stdout", "stderr", "exit"}
    while open_ends:
        try:
            name, chunk = chunks.get(timeout=None if "exit" in open_ends else DRAIN_SECONDS)
        except queue.Empty:
            break
        if chunk:
            yield name, chunk
        else:
            open_ends.discard(name)
    return process.wait()


def output_lines(children: Children, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[bytes]:
    """Yields the output of a command, standard error included.

    Raises:
        subprocess.CalledProcessError: it ended with another status than 0.
    """
    process = children.start(command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None  # noqa: S101 it is piped
        yield from process.stdout
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, list(command))
    finally:
        stop(process, signal.SIGTERM, INTERRUPT_GRACE_SECONDS)
        children.forget(process)
