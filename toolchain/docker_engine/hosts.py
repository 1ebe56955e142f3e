"""Starts engines, joins them by a bridge, and takes all of it away again."""

import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self, overload

import docker
import docker.errors
import requests
from toolchain import relay
from toolchain.cluster import cgroups
from toolchain.docker_engine.programs import Programs, programs
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

# Inside the tests' own namespaces, so that it can't meet any address of the machine. Docker's own networks lie in 172.16/12.
NETWORK = "10.88.0."
BRIDGE_ADDRESS = f"{NETWORK}1"
_FIRST_ADDRESS = 11
_MOST_ENGINES = 200
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_LOG_LINES = 5
_SCRIPT = Path(__file__).with_name("engine.sh")

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Engine:
    """One running engine. address: where its published ports are reached from inside the tests' namespace and from other engines."""

    name: str
    socket: Path
    address: str
    folder: Path = field(repr=False)
    process: Process = field(repr=False, compare=False)

    @property
    def host(self) -> str:
        """As DOCKER_HOST and pulumi-docker's `host` take it."""
        return f"unix://{self.socket}"

    @property
    def namespace(self) -> Path:
        """Its network namespace."""
        return Path(f"/proc/{self.process.pid}/ns/net")

    def client(self) -> docker.DockerClient:
        """A client of its own; close it after use."""
        return docker.DockerClient(base_url=self.host, version="auto", timeout=int(START_SECONDS))


class Site(Sequence[Engine]):
    """The engines, and the namespace with the bridge that they are joined by. A context manager that stops them."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self._others: list[Process] = []
        self.bridge = _open_process(["unshare", "--net", "--", "sh", "-c", "echo ready; exec cat >/dev/null"])
        self._others.append(self.bridge)
        _line(self.bridge, "the tests' network namespace")
        for step in ("link add br0 type bridge", f"addr add {BRIDGE_ADDRESS}/24 dev br0", "link set br0 up", "link set lo up"):
            _ip(self.namespace, *step.split())

    @property
    def namespace(self) -> Path:
        """The network namespace of the tests."""
        return Path(f"/proc/{self.bridge.pid}/ns/net")

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` in the tests' namespace, from where every engine's address is reached."""
        return ["nsenter", f"--net={self.namespace}", "--", *argv]

    def forward(self, host: str, port: int) -> int:
        """A port of 127.0.0.1 that leads to an address inside the tests' namespace, until the site is stopped."""
        return self._relay(relay.OWN_NAMESPACE, "127.0.0.1", str(self.namespace), f"{host}:{port}")

    def expose(self, port: int) -> int:
        """A port of BRIDGE_ADDRESS, inside, that leads to a port of the machine's own 127.0.0.1: so containers reach a test's store."""
        return self._relay(str(self.namespace), BRIDGE_ADDRESS, relay.OWN_NAMESPACE, f"127.0.0.1:{port}")

    def _relay(self, listen_namespace: str, listen_host: str, namespace: str, connect: str) -> int:
        # It ends with the bridge's process, so it can't outlive this one.
        process = _open_process(relay.command(listen_namespace, f"{listen_host}:0", namespace, connect, self.bridge.pid))
        self._others.append(process)
        return int(_line(process, f"the relay to {connect}"))

    def add(self, programs: Programs, folder: Path, name: str) -> Engine:
        """Starts one more engine; returns once it answers. Raises PrepareError."""
        if len(self.engines) >= _MOST_ENGINES:
            raise PrepareError(f"no more than {_MOST_ENGINES} engines fit on the bridge")
        home = folder / name
        home.mkdir(parents=True)
        # Engines of several runs may run side by side.
        cgroup = f"isthmus-docker-{folder.name}-{len(self.engines)}-{time.time_ns():x}"
        with suppress(OSError):  # dockerd will say so
            cgroups.prefer(cgroup)
        socket = home / "docker.sock"
        with (home / "log").open("wb") as log:
            process = _open_process(_command(programs, home, name, cgroup, socket), programs.environment, log)
        engine = Engine(name, socket, f"{NETWORK}{_FIRST_ADDRESS + len(self.engines)}", home, process)
        self.engines.append(engine)
        try:
            _line(process, f"engine {name}")
        except PrepareError as error:
            raise PrepareError(f"{error}: {_last_words(home / 'log')}") from error
        port = f"veth{len(self.engines)}"
        _ip(self.namespace, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        _ip(self.namespace, "link", "set", port, "master", "br0", "up")
        for step in (f"addr add {engine.address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            _ip(engine.namespace, *step.split())
        assert process.stdin is not None  # noqa: S101 it is piped
        process.stdin.write(b"go\n")
        process.stdin.flush()
        _await_answer(engine)
        return engine

    def stop(self) -> None:
        """Ends all engines with their containers, and removes what they wrote. Harmless when called again."""
        processes = [*(engine.process for engine in self.engines), *reversed(self._others)]
        for process in processes:
            if process.stdin and not process.stdin.closed:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # of `unshare`: the kernel then kills everything in that process namespace
                process.wait()
        for engine in self.engines:
            shutil.rmtree(engine.folder, ignore_errors=True)
        self.engines.clear()
        self._others.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self.engines)

    def __iter__(self) -> Iterator[Engine]:
        return iter(self.engines)

    @overload
    def __getitem__(self, index: int) -> Engine: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Engine]: ...
    def __getitem__(self, index: int | slice) -> Engine | Sequence[Engine]:
        return self.engines[index]


def start(layout: Layout, folder: Path, names: Sequence[str]) -> Site:
    """Starts an engine for each name. folder: their data and sockets; keep its path short, as a socket's may have 107 characters.

    Raises:
        PrepareError: no root, no packages, or an engine did not start; nothing is left running.
    """
    found = programs(layout)
    site = Site()
    try:
        for name in names:
            site.add(found, folder, name)
    except BaseException:
        site.stop()
        raise
    return site


def _command(programs: Programs, home: Path, name: str, cgroup: str, socket: Path) -> list[str]:
    (home / "daemon.json").write_text("{}", encoding="ascii")
    own = [
        "unshare",
        "--net",
        "--mount",
        "--propagation",
        "slave",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]
    options = {
        "config-file": home / "daemon.json",
        "data-root": home / "data",
        "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid",
        "host": f"unix://{socket}",
        "cgroup-parent": f"/{cgroup}",
        "exec-opt": "native.cgroupdriver=cgroupfs",
    }
    daemon = [str(programs.find("dockerd")), *(f"--{option}={value}" for option, value in options.items())]
    return [*own, "sh", str(_SCRIPT), str(home), name, cgroup, *daemon]


def _open_process(command: Sequence[str], variables: Mapping[str, str] | None = None, errors: IO[bytes] | None = None) -> Process:
    # A session of its own: Ctrl-C reaches the test run, which then stops the site.
    return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)


def _line(process: Process, what: str) -> str:
    assert process.stdout is not None  # noqa: S101 it is piped
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline().decode().strip() if ready else ""
    if not line:
        raise PrepareError(f"{what} did not start" + (f": status {process.wait(STOP_SECONDS)}" if ready else f" in {START_SECONDS:g} s"))
    return line


def _ip(namespace: Path, *arguments: str) -> None:
    command = ["nsenter", f"--net={namespace}", "--", "ip", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS)
    if result.returncode:
        raise PrepareError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")


def _await_answer(engine: Engine) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with suppress(docker.errors.DockerException, requests.RequestException, OSError):
            client = engine.client()
            try:
                client.ping()
                return
            finally:
                client.close()
        if engine.process.poll() is not None or time.monotonic() > end:
            raise PrepareError(f"engine {engine.name} did not start: {_last_words(engine.folder / 'log')}")
        time.sleep(0.05)


def _last_words(log: Path) -> str:
    try:
        return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return "it wrote nothing"
