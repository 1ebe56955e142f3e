"""A device that is cut off at one call of its update, by a kill or by a power cut, and what has to hold after it.

The law: what answers after the next start is the old content or the new one, whole; a number that was on the disk, or that was reported, is
never given up for an older assignment that is played back; and the update comes to its end without a visit.
"""

import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

import numpy as np
import pytest
from tests.isthmus_agent import tiny_model
from tests.isthmus_agent.interception import Call, Interception, why_not
from tests.isthmus_agent.living import PREFIX, ROWS, Fleet, Living, digest_of, plain
from toolchain.testing import patience

from isthmus_agent.formats import report
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome
from isthmus_agent.manager import control, telling

TIMESTAMP = f"{PREFIX}metadata/timestamp.json"
REPORTED = Call("the store hears that it is confirmed", 1)
"""Not a call of the system, but the moment from which others rely on what the device said."""
EVERY = "ISTHMUS_EVERY_CALL"
EVERY_SECONDS = 3600 if EVERY in os.environ else 300
"""For pytest's deadline."""
_TOLD, _TOLD_CHARACTERS = 20, 4000
"""Of a failure: so many calls and requests, and so much of the log."""
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2


class LawBrokenError(AssertionError):
    """What may not be, is."""


def need(reason: str) -> None:
    """Skips a test for a reason, if there is one. Where all are run for others to rely on, that is a failure."""
    if reason and "CI" in os.environ:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def need_wish(how_many: str) -> None:
    """Skips what takes minutes, unless it is wished for."""
    if how_many == "every" and EVERY not in os.environ:
        pytest.skip(f"{EVERY}=1 tries every system call of an update; it takes some minutes")


class Disk:
    """A file system of its own, whose power can be cut."""

    def __init__(self, folder: Path) -> None:
        self._image, self.root, self._lives = folder / "disk-0.img", folder / "disk", 0
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(32 << 20)
        _done("mkfs.ext4", "-q", str(self._image))
        self._mount()

    def _mount(self) -> None:
        # Nothing comes to the disk by itself, and no file system guesses what a program forgot.
        _done("mount", "-o", "loop,noauto_da_alloc,commit=600", str(self._image), str(self.root))
        self._handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)

    def sync(self) -> None:
        """Everything is on the disk."""
        ctypes.CDLL(None).syncfs(self._handle)

    def cut(self, *, after_another: bool) -> None:
        """What was not made durable is gone. after_another: some other program has made something durable right before."""
        if after_another:
            with (self.root / "bystander").open("ab") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
        ioctl(self._handle, _SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, sys.byteorder))
        os.close(self._handle)

    def come_back(self) -> None:
        """The power is there again.

        What it left is copied to another image. A mount namespace that somebody else has made meanwhile (a node of a cluster, a container)
        holds the file system without power for as long as it lives, and the kernel would give that one again for the same image.
        """
        self._unmount()
        before, self._lives = self._image, self._lives + 1
        self._image = before.with_name(f"disk-{self._lives}.img")
        _done("cp", str(before), str(self._image))
        before.unlink()
        self._mount()

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._handle)
        self._unmount()

    def _unmount(self) -> None:
        def is_free() -> bool:
            return subprocess.run(["umount", str(self.root)], capture_output=True, check=False).returncode == 0

        patience.wait_until(is_free, 30.0)  # the last process may not be quite gone


def why_no_disk() -> str:
    """Why there is no disk to cut off; empty where there is."""
    if os.geteuid() != 0:
        return "a disk is mounted by root alone"
    return "" if Path("/dev/loop-control").exists() else "this machine has no loop devices"


def _done(*command: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {found.stderr}")


@dataclass
class Placed(Living):
    """A device whose state lies elsewhere."""

    at: Path = Path()

    @property
    def state(self) -> Path:
        return self.at


@dataclass
class Bench:
    """A device under interception, which has confirmed the content of `version`, by an assignment of this number.

    disk: None: it is killed instead.
    broken: lines of Python that every process of the program runs first: a device that does it wrong.
    missed: calls that did not come. call: the one before which it is to be cut off. begun: requests of the store before its last start.
    """

    fleet: Fleet
    device: Living
    seen: Interception
    disk: Disk | None = None
    broken: str = ""
    version: int = 0
    missed: list[Call] = field(default_factory=list)
    cuts: int = 0
    call: Call | None = None
    begun: int = 0

    def content(self, version: int) -> bytes:
        weights = self._weights(version)
        return plain(tiny_model.tflite(weights), tiny_model.answer(ROWS, weights).tolist(), version)

    def _weights(self, version: int) -> np.ndarray:
        found: np.ndarray = tiny_model.WEIGHTS * np.float32(1 + version / 50)
        return found

    def start(self) -> None:
        self.begun = len(self.fleet.http.requests)
        program = self.seen.program(self.device.arguments("run"))
        if self.broken:
            folder = self.device.folder / "broken"
            folder.mkdir(exist_ok=True)
            (folder / "sitecustomize.py").write_text(self.broken)
            program = ["/usr/bin/env", f"PYTHONPATH={folder}", *program]
        self.device.start(program)

    def begin(self) -> None:
        """From nothing to the first content."""
        self.start()
        self.update(lambda number: None)

    def record(self, *, by_delta: bool) -> list[Call]:
        """The calls of an update that nobody disturbs, and its last moment."""
        self.seen.watch()
        self.update(lambda number: None, by_delta=by_delta)
        return [*self.seen.calls, REPORTED]

    def update(self, cut_off: Callable[[int], None], *, by_delta: bool = False) -> None:
        """One update to its end. cut_off: what happens to it meanwhile, by its number."""
        try:
            self._update(cut_off, by_delta=by_delta)
        except AssertionError as error:
            error.add_note(self._told())
            raise

    def _update(self, cut_off: Callable[[int], None], *, by_delta: bool) -> None:
        old = self.content(self.version) if by_delta and self.version else None
        number = self.fleet.tell(self.content(self.version + 1), old=old, probation=Probation(0))
        cut_off(number)
        patience.wait_until(lambda: self._is_confirmed(number), 60.0)
        self.device.await_served(self.content(self.version + 1))
        self.version += 1

    def _told(self) -> str:
        """What there is to know about a device that did not do what it has to."""
        process, state, asked = self.device.process, self.device.state, self.fleet.http.requests[self.begun :]
        try:
            status = control.ask(state, {"do": "status"})
        except (control.NotRunningError, OSError) as error:
            status = {"error": str(error), **telling.of_disk(state)}
        log = (self.device.folder.parent / f"{self.device.folder.name}.log").read_text(errors="replace")
        lines = {
            "cut off": f"{self.cuts} times, the last one before: {self.call or 'none'}; missed: {self.missed}",
            "its last calls": [f"{it.label} {it.number}" for it in self.seen.calls[-_TOLD:]],
            "asked of the store since its last start": [f"{method} {path}" for method, path, _ in asked[-_TOLD:]],
            "process": "none" if process is None else f"status {process.poll()}",
            "status": json.dumps(status, indent=1),
            "log": log[-_TOLD_CHARACTERS:],
        }
        return "\n".join(f"{name}: {it}" for name, it in lines.items())

    def _is_confirmed(self, number: int) -> bool:
        return any(it.outcome is Outcome.CONFIRMED for it in self.fleet.reports(number))

    def cut_at(self, call: Call, *, by_delta: bool = False) -> None:
        """One update that is cut off right before a call, and the law. Raises LawBrokenError."""
        if self.disk:
            self.disk.sync()
        before = self.fleet.store.objects[TIMESTAMP]
        reported, cuts, self.call = threading.Event(), self.cuts, call
        self.seen.watch(lambda it: it != call or self._end())
        if call == REPORTED:
            self.fleet.http.checks = lambda method, target, headers: self._hears(method, target, reported)
        self.update(lambda number: self._cut_off(number, before, reported), by_delta=by_delta)
        self.fleet.http.checks = lambda method, target, headers: 0
        if self.cuts == cuts:
            self.missed.append(call)

    def _hears(self, method: str, target: str, reported: threading.Event) -> int:
        is_news = report.folder("", self.version + 1) in target and Outcome.CONFIRMED.value in target
        if method == "PUT" and is_news and not reported.is_set():
            reported.set()
            self._end()
            self.seen.kill()
        return 0

    def _end(self) -> bool:
        if self.disk:
            self.disk.cut(after_another=self.cuts % 2 == 1)
        self.cuts += 1
        return False

    def _cut_off(self, number: int, before: bytes, reported: threading.Event) -> None:
        patience.wait_until(lambda: self.seen.is_cut.is_set() or (self._is_confirmed(number) and not reported.is_set()), 60.0)
        if not self.seen.is_cut.is_set():
            return
        self.device.kill()
        if self.disk:
            self.disk.come_back()
        least = number if reported.is_set() else telling.of_disk(self.device.state)["number"]
        store = self.fleet.store
        now, store.objects[TIMESTAMP] = store.objects[TIMESTAMP], before  # an old assignment is played back
        self.seen.decide = lambda call: True
        self.seen.is_cut.clear()
        self.start()
        # Two looks are over when the third begins. Each that is refused is followed by a longer wait: so no more of them.
        patience.wait_until(lambda: self.fleet.http.paths[self.begun :].count(TIMESTAMP) >= 3, 60.0)
        store.objects[TIMESTAMP] = now
        found = control.ask(self.device.state, {"do": "status"})["number"]
        if found < least:
            raise LawBrokenError(f"assignment {found} was played back to a device that knew {least}")
        self._check_served()

    def _check_served(self) -> None:
        contents = {digest_of(self.content(it)): it for it in (self.version, self.version + 1)}
        served = patience.wait_until(self.device.served, 30.0)
        if served not in contents:
            raise LawBrokenError(f"it serves {served}")
        answers = [tiny_model.answer(ROWS, self._weights(version)) for version in contents.values()]
        found = self.device.predict()  # the new one may have taken over meanwhile
        if not any(np.allclose(found, answer, atol=1e-4) for answer in answers):
            raise LawBrokenError(f"version {contents[served]} answers something else")


@contextmanager
def bench(fleet: Fleet, folder: Path, *, disk: Disk | None = None, broken: str = "") -> Iterator[Bench]:
    """A device that has confirmed its first content."""
    need(why_not())
    at = (disk.root if disk else folder / "device") / "state"
    pace = {"poll_seconds": 0.1, "retry_seconds": 0.05, "measure_seconds": 0.05}
    device = Placed(fleet, folder / "device", pace, at=at)
    seen = Interception(at)
    try:
        found = Bench(fleet, device, seen, disk, broken)
        found.begin()
        yield found
    finally:
        device.kill()
        seen.kill()
        seen.close()


def some(calls: Sequence[Call], count: int, begin: float = 0.0) -> list[Call]:
    """That many of them, evenly, and the last moment. begin: from 0 to 1, so that two rows take others."""
    step = len(calls) / count
    return [calls[int((index + begin) * step)] for index in range(count) if (index + begin) * step < len(calls) - 1] + [calls[-1]]
