"""Models, and servers that run them: as a process, or in this one."""

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from toolchain.testing import patience

from isthmus.provider.local.ports import choose

DATA = Path(__file__).parent / "data"
DEADLINE_SECONDS = 60
HOST = "127.0.0.1"


def wait_for(condition, what: str):
    """condition's first true result, asked for again and again."""
    end = patience.Deadline(DEADLINE_SECONDS)
    while not end.over():
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


@dataclass
class ServerProcess:
    process: subprocess.Popen
    log_path: Path
    grpc_port: int
    rest_port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.rest_port}"

    @property
    def target(self) -> str:
        return f"{HOST}:{self.grpc_port}"

    def log(self) -> str:
        return self.log_path.read_text()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(requests.ConnectionError):
            requests.get(self.url, timeout=5)
            return True
        return False

    def wait_until_open(self) -> "ServerProcess":
        wait_for(self.answers, "the REST port opens")
        return self

    def states(self, model: str) -> dict[str, str]:
        reply = requests.get(f"{self.url}/v1/models/{model}", timeout=DEADLINE_SECONDS).json()
        return {entry["version"]: entry["state"] for entry in reply["model_version_status"]}


@contextlib.contextmanager
def server_process(directory: Path, *flags: str):
    """A server on free ports; it is ended at the end."""
    grpc_port, rest_port = choose(()), choose(())
    log_path = directory / f"server-{rest_port}.log"
    command = [sys.executable, "-m", "isthmus.server", f"--port={grpc_port}", f"--rest_api_port={rest_port}", *flags]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield ServerProcess(process, log_path, grpc_port, rest_port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def make_models():
    """The module that writes the models."""
    spec = importlib.util.spec_from_file_location("make_models", DATA / "make_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models(make_models, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    make_models.make_models(directory)
    return directory


MODEL_CONFIG = """
model_config_list {{
  config {{
    name: "m" base_path: "{models}/m" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "cr" base_path: "{models}/cr" model_platform: "tensorflow" }}
}}
"""


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """A server with the models, labels and metrics that the recordings had, and two odd flags."""
    directory = tmp_path_factory.mktemp("server")
    config, monitoring = directory / "models.config", directory / "monitoring.config"
    config.write_text(MODEL_CONFIG.format(models=models))
    monitoring.write_text("prometheus_config { enable: true }")
    flags = [
        "--enable_grpc_healthcheck_service",
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--no_such_flag=1",
        "--num_load_threads=2",
    ]
    with server_process(directory, *flags) as process:
        yield process.wait_until_open()


@pytest.fixture
def free_port() -> int:
    return choose(())


@pytest.fixture
def start_server(tmp_path):
    """Starts server processes that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags: stack.enter_context(server_process(tmp_path, *flags))


@pytest.fixture
def serve_here():
    """Serves in this process: an async context manager that takes flags and yields the REST URL."""
    from isthmus.server import app
    from isthmus.server.flags import parse_flags

    @contextlib.asynccontextmanager
    async def serve(*flags: str):
        options, _ = parse_flags(["--port=0", "--max_num_load_retries=0", *flags])
        stop, ready, bound = asyncio.Event(), asyncio.Event(), socket.socket()
        bound.bind((HOST, 0))
        task = asyncio.ensure_future(app.serve(options, stop, rest_socket=bound, on_ready=ready.set))
        opened = asyncio.ensure_future(ready.wait())
        try:
            deadline = patience.Deadline(DEADLINE_SECONDS)
            while not (task.done() or opened.done()):
                assert not deadline.over(), "not ready in time"
                await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED, timeout=deadline.left_seconds + 0.1)
            if task.done():
                await task  # raises what kept it from starting
            yield f"http://{HOST}:{bound.getsockname()[1]}"
        finally:
            opened.cancel()
            stop.set()
            await asyncio.wait([task])
            bound.close()

    return serve
