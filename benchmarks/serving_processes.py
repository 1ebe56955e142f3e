"""The processes that benchmarks measure: as the local platform describes them, on free loopback ports, without a supervisor."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from isthmus import gateway
from isthmus.platforms.local import desired as local
from isthmus.provider.local import ports, readiness
from isthmus.provider.local.replicas import Place, render

MODEL = "digits"
PREDICT = f"/v1/models/{MODEL}:predict"
STOP_SECONDS = 20
POLL_SECONDS = 0.1


class Running:
    """One process. ports: by name. It may not be ready yet (`wait`), and has to be ended (`close`)."""

    def __init__(self, wanted: local.Processes, scratch: Path) -> None:
        self.name = wanted.program
        self.ports = {name: port or ports.choose([]) for name, port in wanted.ports.items()}
        self.sockets = {name: str(scratch / f"{self.name}.{name}") for name in wanted.sockets}
        directory = scratch / self.name
        replica = render(asdict(wanted), 0, Place(directory, self.ports, self.sockets), sys.executable)
        for name, content in {**replica.files, **replica.live_files}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(content)
        self._ready, self._log = wanted.ready, directory / "log"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches the benchmark alone, which then ends what it has started.
            self._process = subprocess.Popen(
                replica.command, stdout=log, stderr=log, env={**os.environ, "PATH": path}, start_new_session=True
            )
        self._measured = psutil.Process(self._process.pid)

    def wait(self) -> None:
        """Until it answers. Raises SystemExit where it ends before, or takes longer than the platform allows."""
        probe = readiness.probe(self._ready, self.ports, self.sockets)
        end = time.monotonic() + self._ready["timeout_seconds"]
        while (failure := probe.failure() if probe else None) is not None:
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{self.name} does not become ready: {failure}\n{self.log[-4000:]}")
            time.sleep(POLL_SECONDS)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """CPU time of all its threads until now, in user mode and in the kernel for it (/proc/PID/stat: steps of 10 ms)."""
        times = self._measured.cpu_times()
        return float(times.user + times.system)

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()


def server(index: int, model_directory: Path, scratch: Path, model: str = MODEL, *flags: str) -> Running:
    """An embedded server with the command line that the local platform gives it, but on ports: the clients here speak TCP.

    flags: more of them; the last one of a name counts.
    """
    wanted = local.server(f"server-{index}", model, str(model_directory), 1)
    on_ports = [word for word in wanted.command if "socket" not in word and not word.startswith(("--port=", "--rest_api_port="))]
    command = [*on_ports, "--port=${port.grpc}", "--rest_api_port=${port.rest}", *flags]
    ready = {**{key: value for key, value in wanted.ready.items() if key != "socket"}, "port": "rest"}
    return Running(replace(wanted, command=command, ports={"rest": 0, "grpc": 0}, sockets=(), ready=ready), scratch)


def gateway_to(
    servers: Sequence[Running], scratch: Path, *, model: str = MODEL, balancing: str = "least_request", weights: Sequence[int] = ()
) -> Running:
    """A gateway with the local platform's own configuration over these servers. weights: one a server; without them all are alike."""
    program = f"gateway-{balancing}-{len(servers)}"
    both = zip(servers, weights or [1] * len(servers), strict=True)
    listed = tuple(gateway.Server("127.0.0.1", it.ports["rest"], it.ports["grpc"], weight) for it, weight in both)
    spec = local.gateway_spec(program, model, listed, balancing)
    return _envoy(program, model, {**gateway.live_files(spec), **gateway.routes_of(spec)}, scratch)


def answering_gateway(replies: Mapping[str, bytes], scratch: Path) -> Running:
    """The same gateway, answering by itself: what a client can do at most. replies: by the path's query."""
    program = "gateway-alone"
    files = local.gateway_files(program, MODEL, [], "least_request")
    routes: dict[str, Any] = json.loads(files["rds.json"])
    (config,) = routes["resources"]
    config["max_direct_response_body_size_bytes"] = max(map(len, replies.values()))
    config["virtual_hosts"][0]["routes"] = [
        {
            "match": {"path": PREDICT, "query_parameters": [{"name": name, "present_match": True}]},
            "direct_response": {"status": 200, "body": {"inline_string": body.decode()}},
        }
        for name, body in replies.items()
    ]
    return _envoy(program, MODEL, {**files, "rds.json": json.dumps(routes)}, scratch, ready_path=gateway.ALIVE_PATH)


def _envoy(program: str, model: str, live_files: Mapping[str, str], scratch: Path, ready_path: str = gateway.READY_PATH) -> Running:
    wanted = local.envoy(program, model, port=0, grpc_port=0)
    return Running(replace(wanted, live_files=live_files, ready={**wanted.ready, "path": ready_path}), scratch)
