"""Envoy itself on loopback, in front of small model servers of our own that can be told to fail."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import requests
from aiohttp import web
from toolchain.testing import patience

from isthmus import gateway as g
from isthmus.provider.local.ports import choose

ENVOY = Path(sys.executable).parent / "envoy"
MODEL = "digits"
PREDICT = f"/v1/models/{MODEL}:predict"
GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"
DEADLINE_SECONDS = 60


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The condition's first truthy value."""
    end = patience.Deadline(seconds)
    while True:
        if found := condition():
            return found
        assert not end.over(), f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_SECONDS)

    def close(self) -> None:
        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_SECONDS)
        self.loop.close()


@dataclass
class Backend:
    """A model server that answers everything with its name. What it is asked to predict is recorded.

    directory: listens on Unix sockets in it as well.
    """

    loop: Loop
    version: int
    name: str
    loaded: bool = True
    hung: bool = False
    status: int = 200
    delay_seconds: float = 0.0
    port: int = 0
    grpc_port: int = 0
    directory: Path | None = None
    requests: list[web.BaseRequest] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    health_checks: int = 0
    held: asyncio.Event | None = None

    def hold(self) -> None:
        """What comes from now on is answered after `release`."""
        self.held = asyncio.Event()

    def release(self) -> None:
        """Answers what was held, and what comes."""
        if self.held is not None:
            self.loop.loop.call_soon_threadsafe(self.held.set)

    def start(self) -> "Backend":
        self.loop.run(self._listen())
        if not self.grpc_port:
            self._grpc = grpc.server(ThreadPoolExecutor(4))
            self._grpc.add_generic_rpc_handlers((_Calls(self),))
            self.grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
            if self.directory:
                self._grpc.add_insecure_port(f"unix:{self.directory / 'grpc'}")
            self._grpc.start()
        return self

    async def _listen(self) -> None:
        self._server = web.Server(self._answer, handler_cancellation=True)
        self._listening = await self.loop.loop.create_server(self._server, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._listening.sockets[0].getsockname()[1]
        if self.directory:
            await self.loop.loop.create_unix_server(self._server, self.directory / "rest")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.hung:
            await asyncio.sleep(3600)
        if request.path.endswith("/metadata"):
            self.health_checks += 1
            pinned = f"/v1/models/{MODEL}/versions/{self.version}/metadata"
            return web.json_response({}, status=200 if self.loaded and request.path in (pinned, f"/v1/models/{MODEL}/metadata") else 404)
        body = await request.read()
        self.requests.append(request)
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(self.delay_seconds)
        return web.json_response({"server": self.name, "path": request.path, "bytes": len(body)}, status=self.status)

    def kill(self) -> None:
        """As if the process had been killed: no answer, and every connection reset."""

        async def die() -> None:
            self._listening.close()
            for connection in list(self._server.connections):
                if connection.transport is not None:
                    connection.transport.abort()

        self.loop.run(die())

    def revive(self) -> None:
        self.loop.run(self._listen())

    def close(self) -> None:
        with suppress(RuntimeError):
            self.kill()
        self._grpc.stop(None)


class _Calls(grpc.GenericRpcHandler):
    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.backend.calls.append({key: str(value) for key, value in context.invocation_metadata()})
            return self.backend.name.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


class Envoy:
    """One running gateway, with its folders as Kubernetes mounts them: files are links into a folder that is swapped."""

    def __init__(self, directory: Path, gateway: g.Gateway, traffic: g.Traffic | None = None) -> None:
        self.directory = directory
        rest, grpc_port, admin, status = free_ports(4)
        self.gateway = replace(
            gateway,
            rest_port=rest,
            grpc_port=grpc_port,
            admin_port=admin,
            status_port=status,
            directory=str(directory / "live"),
            traffic_directory=str(directory / "traffic"),
        )
        self.rest = f"http{'s' if gateway.options.tls else ''}://127.0.0.1:{rest}"
        self.grpc = f"127.0.0.1:{grpc_port}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.status = f"http://127.0.0.1:{status}"
        self.generations = count(1)
        (directory / "static").mkdir(parents=True)
        for name, text in g.static_files(self.gateway).items():
            (directory / "static" / name).write_text(text)
        swap(directory / "live", g.live_files(self.gateway))
        self.split(traffic or g.Traffic(), wait=False)
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Envoy":
        command = g.command(self.gateway, str(self.directory / "static" / "envoy.json"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([ENVOY, *command[1:]], stdout=log, stderr=subprocess.STDOUT)
        until(self._ready, f"Envoy is ready: {self.log.read_text()[-2000:]}")
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.status}{g.READY_PATH}", timeout=5).ok
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(DEADLINE_SECONDS)

    def split(self, traffic: g.Traffic, *, wait: bool = True, by: str = "swap") -> None:
        """Writes rds.json, and waits until Envoy has taken it up."""
        generation = str(next(self.generations))
        PLACE[by](self.directory / "traffic", g.routes_of(self.gateway, traffic, generation=generation))
        if wait:
            until(lambda: f"traffic-{generation}" in self.routes(), f"split {generation} is taken up")

    def reload(self, **changes: Any) -> None:
        """Writes listeners and clusters anew."""
        self.gateway = replace(self.gateway, **changes)
        before = self.stat("listener_manager.lds.update_success"), self.stat("cluster_manager.cds.update_success")
        swap(self.directory / "live", g.live_files(self.gateway))
        until(
            lambda: (
                self.stat("listener_manager.lds.update_success") > before[0]
                and self.stat("cluster_manager.cds.update_success") > before[1]
                and not self.stat("cluster_manager.warming_clusters")
                and not self.stat("listener_manager.total_listeners_warming")
            ),
            f"the new files are taken up: {self.log.read_text()[-2000:]}",
        )

    def routes(self) -> str:
        return requests.get(f"{self.status}/config_dump?resource=dynamic_route_configs", timeout=10).text

    def stats(self) -> dict[str, int]:
        found = requests.get(f"{self.admin}/stats?format=json", timeout=10).json()["stats"]
        return {it["name"]: it["value"] for it in found if "name" in it and isinstance(it["value"], int)}

    def stat(self, name: str) -> int:
        return self.stats().get(name, 0)

    def wait(self, stat: str, value: int) -> None:
        until(lambda: self.stat(stat) == value, f"{stat} is {value}")

    def predict(self, path: str = PREDICT, **kwargs: Any) -> requests.Response:
        return requests.post(f"{self.rest}{path}", timeout=30, **{"json": {"instances": [[1.0]]}, **kwargs})

    def call(self, method: str = GRPC_PREDICT, message: bytes = b"x", metadata: dict[str, str] | None = None) -> bytes:
        with grpc.insecure_channel(self.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
            return channel.unary_unary(method)(message, timeout=30, metadata=list((metadata or {}).items()))


def swap(directory: Path, files: dict[str, str]) -> None:
    """As the kubelet does: a new folder, and one rename of a link to it."""
    fresh = directory / f"..{time.time_ns()}"
    fresh.mkdir(parents=True)
    for name, text in files.items():
        (fresh / name).write_text(text)
    (directory / "..data_tmp").symlink_to(fresh.name)
    old = (directory / "..data").resolve() if (directory / "..data").exists() else None
    (directory / "..data_tmp").rename(directory / "..data")
    for name in files:
        if not (directory / name).is_symlink():
            (directory / f".{name}").symlink_to(f"..data/{name}")
            (directory / f".{name}").rename(directory / name)
    if old is not None:
        shutil.rmtree(old)


def rename(directory: Path, files: dict[str, str]) -> None:
    """As the plugin does on this machine: each file is moved into its place."""
    for name, text in files.items():
        (directory / f".{name}").write_text(text)
        os.replace(directory / f".{name}", directory / name)


PLACE = {"swap": swap, "rename": rename}


def free_ports(number: int) -> list[int]:
    return [choose(()) for _ in range(number)]


class OpenLoop:
    """A client that sends at its own pace, however slow the answers are. It does not try again."""

    def __init__(self, loop: Loop, url: str, per_second: float = 200, **request: Any) -> None:
        self.loop, self.url, self.per_second, self.request = loop, url, per_second, request
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.connections = 0

    def __enter__(self) -> "OpenLoop":
        self.stopping = asyncio.Event()
        self.future = asyncio.run_coroutine_threadsafe(self._run(), self.loop.loop)
        until(lambda: sum(self.answers.values()) >= 20 or self.failures, "the client is under way")
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.loop.call_soon_threadsafe(self.stopping.set)
        self.future.result(DEADLINE_SECONDS)

    def more(self, number: int = 100) -> None:
        """Waits for that many more answers."""
        aim = sum(self.answers.values()) + number
        until(lambda: sum(self.answers.values()) >= aim or self.failures, f"{number} more answers")

    async def _run(self) -> None:
        trace = aiohttp.TraceConfig()

        async def connected(*_: object) -> None:
            self.connections += 1

        trace.on_connection_create_end.append(connected)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session, asyncio.TaskGroup() as tasks:
            start = time.monotonic()
            for sent in count(1):
                tasks.create_task(self._one(session))
                pause = start + sent / self.per_second - time.monotonic()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), max(pause, 0.0))
                if self.stopping.is_set():
                    return

    async def _one(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.post(self.url, json={"instances": [[1.0]]}, **self.request) as reply:
                answer = await reply.text()
                if reply.status == 200:
                    self.answers[json.loads(answer)["server"]] += 1
                else:
                    self.failures.append(f"{reply.status} {answer}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(repr(error))


class Service:
    """As a Service of the cluster: new connections go to whom it names now, those that are open stay where they are."""

    def __init__(self, loop: Loop, port: int) -> None:
        self.loop, self.target = loop, port
        self.server = loop.run(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def service(loop: Loop) -> Callable[[int], Service]:
    return lambda port: Service(loop, port)


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@contextmanager
def backends(loop: Loop) -> Iterator[Callable[..., Backend]]:
    with ExitStack() as stack:

        def make(name: str, version: int = 1, **more: Any) -> Backend:
            backend = Backend(loop, version, name, **more).start()
            stack.callback(backend.close)
            return backend

        yield make


@contextmanager
def envoys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Envoy]]:
    with ExitStack() as stack:

        def make(*tracks: g.Track, traffic: g.Traffic | None = None, options: g.GatewayOptions | None = None, **spec: Any) -> Envoy:
            gateway = g.Gateway(
                node="gateway",
                model_name=MODEL,
                tracks=tracks,
                rest_port=0,
                grpc_port=0,
                admin_port=0,
                directory="",
                traffic_directory="",
                options=options or g.GatewayOptions(workers=1),
                **spec,
            )
            envoy = Envoy(tmp_path_factory.mktemp("envoy"), gateway, traffic)
            stack.callback(envoy.stop)
            return envoy.start()

        yield make


@pytest.fixture
def make_backend(loop: Loop) -> Iterator[Callable[..., Backend]]:
    with backends(loop) as make:
        yield make


@pytest.fixture
def make_envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Envoy]]:
    with envoys(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_backend(loop: Loop) -> Iterator[Callable[..., Backend]]:
    """For all tests of a module."""
    with backends(loop) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Envoy]]:
    with envoys(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def track() -> Callable[..., g.Track]:
    def of(name: str, *backends: Backend, weights: tuple[int, ...] = (), **more: Any) -> g.Track:
        weighted = zip(backends, weights or (1,) * len(backends), strict=True)
        servers = tuple(g.Server("127.0.0.1", it.port, it.grpc_port, weight) for it, weight in weighted)
        return g.Track(name, backends[0].version, servers, **more)

    return of


@pytest.fixture(scope="module")
def open_loop(loop: Loop) -> Callable[..., OpenLoop]:
    return lambda url, **more: OpenLoop(loop, url, **more)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return until


@pytest.fixture(scope="session")
def envoy_tools() -> tuple[Path, Callable[[int], list[int]], Callable[..., Any]]:
    return ENVOY, free_ports, until
