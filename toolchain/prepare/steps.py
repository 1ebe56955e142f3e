"""Steps that say what they do and are skipped when done; running commands; errors for the user."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

ATTEMPTS = 3
RETRY_SECONDS = 3.0
PHASES = "ISTHMUS_PHASES"
_SCRATCH = "making-"
T = TypeVar("T")
U = TypeVar("U")


class PrepareError(Exception):
    """Preparing failed; the text says in one line what, and how to fix it."""


def let_others_read() -> None:
    """What this process and those that it starts make from here on may be read by other users: they read it in containers, and beside a
    stack, whose own files are for their owner alone (the Makefile's umask)."""
    os.umask(0o022)


def say(text: str) -> None:
    """One line for the user."""
    print(f"isthmus: {text}", flush=True)


def fingerprint(*parts: str | Path) -> str:
    """A digest of texts and of the contents of files (a missing file counts as such)."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else (part.read_bytes() if part.is_file() else b"\0missing")
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


class Stamp:
    """A file that remembers the fingerprint with which a step was last finished."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> str:
        """The fingerprint; empty if the step never finished."""
        try:
            return self.file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def clear(self) -> None:
        """To be called before the step starts, so that an interrupted step is done again."""
        self.file.unlink(missing_ok=True)

    def write(self, value: str) -> None:
        """To be called when the step is finished."""
        replace_file(self.file, value.encode("ascii"))


def replace_file(file: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file whole or not at all; makes its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.chmod(partial, mode)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A part of the work that is noted with its times, see `note`."""
    began = time.monotonic()
    try:
        yield
    finally:
        note(name, time.monotonic() - began)


def note(name: str, seconds: float) -> None:
    """Notes a part of the work that ends now, in the file that the variable PHASES names (see `toolchain.testing.phases`)."""
    if file := os.environ.get(PHASES):
        now = time.time()
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"name": name, "began": now - seconds, "ended": now}) + "\n")


def beside(work: Callable[[], T], meanwhile: Callable[[], U], stop: Callable[[], None]) -> tuple[T, U]:
    """Does both at the same time; returns both results.

    meanwhile: done in a thread. stop: has it end soon, because `work` has failed, or was interrupted. Where both fail, the first one's
    error is raised.
    """
    pool = ThreadPoolExecutor(1)
    try:
        future = pool.submit(meanwhile)
        try:
            return work(), future.result()
        except BaseException:
            stop()
            raise
    finally:
        pool.shutdown()


def touch(folder: Path) -> None:
    """Notes that something in the cache was used now (see `prune`)."""
    with suppress(OSError):  # a cache that may only be read
        os.utime(folder)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """An empty folder in which something is made that is then renamed to a place in `beside`; gone at the end, with what is left in it.

    Whoever calls holds the lock of `beside`: what a killed process left there is removed.
    """
    beside.mkdir(parents=True, exist_ok=True)
    for left in beside.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(file: Path, what: str) -> Iterator[None]:
    """Holds a lock over processes; says so if it has to wait. The lock ends with the process, however that ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that prepares {what}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _shown(command: list[str], environ: Mapping[str, str] | None, cwd: Path | None, hide: tuple[str, ...]) -> int:
    with subprocess.Popen(command, env=environ, cwd=cwd, stderr=subprocess.PIPE if hide else None, text=True) as process:
        for line in process.stderr or ():
            if not line.startswith(hide):
                sys.stderr.write(line)
                sys.stderr.flush()
        return process.wait()


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    fix: str,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    attempts: int = 1,
    hide: tuple[str, ...] = (),
) -> None:
    """Runs a command whose own output the user sees, but for the lines on standard error that start with one of `hide`.

    Raises:
        PrepareError: it failed `attempts` times; the text has `what`, the last status and `fix`.
    """
    for attempt in range(1, attempts + 1):
        try:
            status = _shown([str(part) for part in command], environ, cwd, hide)
        except OSError as error:
            raise PrepareError(f"{what} failed: {error}. Fix: {fix}") from error
        if status == 0:
            return
        if status < 0 or attempt == attempts:
            break
        say(f"{what} failed with status {status}; trying again ({attempt + 1} of {attempts})")
        time.sleep(RETRY_SECONDS)
    raise PrepareError(f"{what} failed with status {status}. Fix: {fix}")


def output_of(command: list[str | Path], environ: Mapping[str, str] | None = None, timeout_seconds: float = 30) -> str:
    """What a command prints; empty if it cannot be run or fails."""
    try:
        result = subprocess.run(
            [str(part) for part in command], env=environ, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def fail(error: Exception) -> int:
    """Prints the error on one line; returns the exit status."""
    print(f"isthmus: error: {error}", file=sys.stderr, flush=True)
    return 1
