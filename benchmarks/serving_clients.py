"""Clients of benchmarks/serving.py, and what one turn of measuring finds out.

Requests are encoded beforehand and answers are read but not decoded, so that the client takes as little of the machine as it can.
One connection: http.client and grpcio, blocking. Many at once: aiohttp and grpc.aio, on one thread.
"""

import asyncio
import http.client
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
import grpc
import numpy as np
import psutil
from serving_processes import PREDICT, Running

HOST = "127.0.0.1"
GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"
JSON = {"Content-Type": "application/json"}
TIMEOUT_SECONDS = 60
# Long enough for the embedded server to find out whether a model's calls are short.
WARM_UP_SECONDS = 0.2
GRPC_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]

# One request: its answer's body. Raises where it fails: a failure ends the benchmark.
Call = Callable[[], bytes]
AsyncCall = Callable[[], Awaitable[bytes]]


@dataclass
class Turn:
    """What was measured in one turn. cpu_seconds: by who took it; "others": whatever else runs on this machine."""

    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "Turn") -> "Turn":
        names = {**self.cpu_seconds, **other.cpu_seconds}
        cpu = {name: self.cpu_seconds.get(name, 0.0) + other.cpu_seconds.get(name, 0.0) for name in names}
        return Turn(self.latencies_ms + other.latencies_ms, self.seconds + other.seconds, cpu)

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent))

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def cpu_ms(self, name: str) -> float:
        """CPU time for each request."""
        return 1000 * self.cpu_seconds.get(name, 0.0) / len(self.latencies_ms)

    def cores(self, *names: str) -> float:
        """Cores that were busy on average."""
        return sum(self.cpu_seconds.get(name, 0.0) for name in names) / self.seconds


@dataclass(frozen=True)
class Meter:
    """Whose CPU time is measured: processes by name; the client is this process."""

    groups: Mapping[str, Sequence[Running]]

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """A turn that is complete at the end of the block."""
        turn, before, began = Turn(), self._read(), time.perf_counter()
        yield turn
        turn.seconds, after = time.perf_counter() - began, self._read()
        turn.cpu_seconds = {name: after[name] - before[name] for name in after}
        turn.cpu_seconds["others"] = turn.cpu_seconds.pop("all") - sum(turn.cpu_seconds[name] for name in (*self.groups, "client"))

    def _read(self) -> dict[str, float]:
        everything = psutil.cpu_times()
        return {
            **{name: sum(it.cpu_seconds() for it in running) for name, running in self.groups.items()},
            "client": time.process_time(),
            "all": everything.user + everything.nice + everything.system + everything.irq + everything.softirq,
        }


@contextmanager
def rest_connection(port: int, body: bytes) -> Iterator[Call]:
    """One connection that is kept alive; where an answer asks to close it, as the gateway's does now and then, another one follows."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)

    def call() -> bytes:
        connection.request("POST", PREDICT, body, JSON)
        reply = connection.getresponse()
        answer = reply.read()
        if reply.status != 200:
            raise SystemExit(f"HTTP {reply.status} from port {port}: {answer.decode(errors='replace')}")
        return answer

    try:
        yield call
    finally:
        connection.close()


@contextmanager
def grpc_connection(port: int, message: bytes) -> Iterator[Call]:
    with grpc.insecure_channel(f"{HOST}:{port}", options=GRPC_OPTIONS) as channel:
        predict = channel.unary_unary(GRPC_PREDICT, None, None)
        yield lambda: predict(message, timeout=TIMEOUT_SECONDS, wait_for_ready=True)


def warm_up(call: Call) -> None:
    end = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < end:
        call()


def closed_loop(call: Call, meter: Meter, *, requests: int = 1, seconds: float = 0.0) -> Turn:
    """One request after the other: at least so many, for at least so long."""
    with meter.turn() as turn:
        latencies_ms, end = turn.latencies_ms, time.perf_counter() + seconds
        sent = time.perf_counter()
        while sent < end or len(latencies_ms) < requests:
            call()
            answered = time.perf_counter()
            latencies_ms.append(1000 * (answered - sent))
            sent = answered
    return turn


@asynccontextmanager
async def rest_connections(port: int, body: bytes, query: str = "") -> AsyncIterator[AsyncCall]:
    """As many connections as there are requests at once."""
    url, timeout = f"http://{HOST}:{port}{PREDICT}{query}", aiohttp.ClientTimeout(TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, headers=JSON) as session:

        async def call() -> bytes:
            async with session.post(url, data=body) as reply:
                answer = await reply.read()
                if reply.status != 200:
                    raise SystemExit(f"HTTP {reply.status} from {url}: {answer.decode(errors='replace')}")
                return answer

        yield call


@asynccontextmanager
async def grpc_connections(port: int, message: bytes) -> AsyncIterator[AsyncCall]:
    async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=GRPC_OPTIONS) as channel:
        predict = channel.unary_unary(GRPC_PREDICT, None, None)

        async def call() -> bytes:
            return bytes(await predict(message, timeout=TIMEOUT_SECONDS, wait_for_ready=True))

        yield call


async def many_closed_loops(call: AsyncCall, meter: Meter, concurrency: int, seconds: float) -> Turn:
    """So many requests at any time, for so long, after a while that does not count."""

    async def loops(latencies_ms: list[float], seconds: float) -> None:
        end = time.perf_counter() + seconds

        async def loop() -> None:
            while (sent := time.perf_counter()) < end:
                await call()
                latencies_ms.append(1000 * (time.perf_counter() - sent))

        await asyncio.gather(*(loop() for _ in range(concurrency)))

    await loops([], WARM_UP_SECONDS)
    with meter.turn() as turn:
        await loops(turn.latencies_ms, seconds)
    return turn


async def open_loop(call: AsyncCall, meter: Meter, per_second: float, seconds: float, seed: int) -> Turn:
    """Requests at random times (Poisson), however slow the answers are. seed: the same one gives the same times.

    A latency counts from the moment of sending: this client's own clock wakes it up to a millisecond late.
    """
    pauses, due, tasks = random.Random(seed), 0.0, []  # noqa: S311
    await call()
    with meter.turn() as turn:

        async def one() -> None:
            sent = time.perf_counter()
            await call()
            turn.latencies_ms.append(1000 * (time.perf_counter() - sent))

        began = time.perf_counter()
        while (due := due + pauses.expovariate(per_second)) < seconds:
            await asyncio.sleep(began + due - time.perf_counter())
            tasks.append(asyncio.create_task(one()))
        await asyncio.gather(*tasks)
    return turn
