"""Networks between devices and a cloud role that a test may make as bad as it likes: a namespace a device, and a veth pair out of it.

Rate and cut are the kernel's own (`tc`, and the link taken down). Latency, jitter and loss are `tc netem`'s where the kernel has it; else a
relay in this process delays what it passes on, in order, and a lost packet is one that comes a retransmission later. `Network.by` says
which it is.
"""

import asyncio
import ctypes
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")
RETRANSMISSION_SECONDS: Final = 0.2
"""Linux's least (TCP_RTO_MIN), beside a round trip."""
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
_PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class Shape:
    """What a link is like, both ways together for the round trip. is_cut: nothing gets through."""

    round_trip_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    megabits_per_second: float = 1000.0
    is_cut: bool = False


CUT: Final = Shape(is_cut=True)


def why_not() -> str:
    """Why this machine can have no such networks; empty where it can."""
    if os.getuid() != 0 or not all(map(shutil.which, ("ip", "tc"))):
        return "NOT TESTED: devices behind shaped links; it takes root, ip and tc"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "NOT TESTED: devices behind shaped links; this machine lets nobody make a network namespace"


def has_netem() -> bool:
    """Whether the kernel delays packets by itself."""
    return _tried("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


class Network:
    """A device's way to a port of this machine. index: tells networks of one process apart. by: what shapes it."""

    def __init__(self, index: int, port: int, *, netem: bool, seed: int = 0) -> None:
        self.name = f"isth{os.getpid() % 100_000}-{index}"
        self._link, self._netem = f"v{os.getpid() % 100_000}-{index}", netem
        self._ours, theirs = (f"10.{200 + index}.{os.getpid() % 250}.{it}" for it in (1, 2))
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _run("ip", "addr", "add", f"{self._ours}/24", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        for words in (f"addr add {theirs}/24 dev eth0", "link set eth0 up", "link set lo up"):
            _run("ip", "-n", self.name, *words.split())
        self._shape = Shape()
        self._relay = _Relay(self._ours, port, random.Random(seed))  # noqa: S311 - a test's dice
        self.url = f"http://{self._ours}:{self._relay.port}"
        self.shape(self._shape)

    @property
    def by(self) -> str:
        """What shapes it, for people."""
        return "tc netem" if self._netem else "tc tbf for the rate, the link taken down for a cut, a relay for latency, jitter and loss"

    def shape(self, wanted: Shape) -> None:
        """From now on it is like that."""
        if wanted.is_cut != self._shape.is_cut:
            _run("ip", "link", "set", self._link, "down" if wanted.is_cut else "up")
        self._shape = wanted
        if wanted.is_cut:
            return
        rate = f"{wanted.megabits_per_second}mbit"
        for words in (["tc"], ["ip", "netns", "exec", self.name, "tc"]):
            device = self._link if words == ["tc"] else "eth0"
            where = [*words, "qdisc", "replace", "dev", device, "root"]
            if self._netem:
                delay, jitter = f"{wanted.round_trip_ms / 2}ms", f"{wanted.jitter_ms / 2}ms"
                _run(*where, "netem", "delay", delay, jitter, "loss", f"{wanted.loss_percent}%", "rate", rate)
            else:
                _run(*where, "tbf", "rate", rate, "burst", "100kb", "latency", "5s")
        if not self._netem:
            self._relay.shape = wanted

    def within(self, act: Callable[[], T]) -> T:
        """What `act` gives, called by a thread that is in the device's namespace: sockets that it makes stay there."""
        found: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self.enter()
                found.append(act())
            except BaseException as error:  # it is raised below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def enter(self) -> None:
        """Has the calling thread, which may be no other's, live in the namespace from now on."""
        descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Ends it."""
        self._relay.close()
        with suppress(subprocess.CalledProcessError):
            _run("ip", "netns", "delete", self.name)
        _tried("ip", "link", "delete", self._link)


@contextmanager
def networks(count: int, port: int) -> Iterator[list[Network]]:
    """So many of them. port: of the cloud role, on this machine's loopback."""
    made: list[Network] = []
    netem = has_netem()
    try:
        made.extend(Network(index, port, netem=netem, seed=index) for index in range(count))
        yield made
    finally:
        for it in made:
            it.close()


@dataclass
class _Direction:
    """One way of a connection. due: when what was passed on last was due."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    due: float = 0.0
    waiting: "asyncio.Queue[tuple[float, bytes]]" = field(default_factory=asyncio.Queue)


class _Relay:
    """Passes connections on to a port of this machine, late. shape: may be set at any time."""

    def __init__(self, address: str, port: int, dice: random.Random) -> None:
        self.shape, self._to, self._dice = Shape(), port, dice
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._server = self._ask(asyncio.start_server(self._serve, address, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _ask(self, wanted: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(wanted, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection("127.0.0.1", self._to)
        there, back = _Direction(reader, theirs[1]), _Direction(theirs[0], writer)
        tasks = [asyncio.ensure_future(it) for way in (there, back) for it in (self._take(way), self._give(way))]
        try:
            await asyncio.gather(*tasks)
        except (OSError, asyncio.CancelledError):  # one end is gone, or all of it ends
            for task in tasks:
                task.cancel()
        finally:
            for it in (writer, theirs[1]):
                it.close()

    async def _take(self, way: _Direction) -> None:
        while True:
            piece = await way.reader.read(_PIECE_BYTES)
            shape = self.shape
            late_ms = shape.round_trip_ms / 2 + self._dice.uniform(-1, 1) * shape.jitter_ms / 2
            if self._dice.random() < shape.loss_percent / 100:
                late_ms += 1000 * RETRANSMISSION_SECONDS + shape.round_trip_ms
            way.due = max(way.due, self._loop.time() + max(0.0, late_ms) / 1000)
            way.waiting.put_nowait((way.due, piece))
            if not piece:
                return

    async def _give(self, way: _Direction) -> None:
        while True:
            due, piece = await way.waiting.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            if not piece:
                way.writer.close()
                return
            way.writer.write(piece)
            await way.writer.drain()

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = [it for it in asyncio.all_tasks() if it is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._ask(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _tried(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def program_within(network: Network, command: list[str]) -> list[str]:
    """A command, run in a network's namespace. Its process is the command's own."""
    return ["ip", "netns", "exec", network.name, *command]


def trace(transition: Any, levels: int, steps: int, seed: int, first: int = 0) -> list[int]:
    """A level for each step, by a matrix of one step: [levels, levels], rows sum to 1."""
    dice, found = random.Random(seed), [first]  # noqa: S311 - a test's dice
    while len(found) < steps:
        found.append(dice.choices(range(levels), [float(it) for it in transition[found[-1]]])[0])
    return found
