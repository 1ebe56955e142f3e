"""The real plugin process."""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pulumi.runtime.proto import provider_pb2
from toolchain.testing import patience, wire

from isthmus.provider.local.ports import choose

COMPONENTS = Path(__file__).parents[2] / "components"


class Plugin(wire.Plugin):
    """The client of our own plugin: resources are called by the last part of their token."""

    @staticmethod
    def urn(token: str, name: str) -> str:
        return wire.Plugin.urn(f"isthmus:index:{token}", name)

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
        return schema


@contextmanager
def run_plugin(environment: Mapping[str, str] | None = None) -> Iterator[Plugin]:
    with wire.run_plugin(COMPONENTS, environment, Plugin) as plugin:
        plugin.configure()
        yield plugin


@pytest.fixture(scope="session")
def shared_plugin() -> Iterator[Plugin]:
    with run_plugin({"PULUMI_CONFIG_PASSPHRASE": "not for children"}) as plugin:
        yield plugin


@pytest.fixture
def plugin(shared_plugin: Plugin) -> Plugin:
    shared_plugin.engine.messages.clear()
    return shared_plugin


@pytest.fixture
def new_plugin() -> Callable[[], Any]:
    """Starts a plugin of the test's own, as a context manager."""
    return run_plugin


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as a real project has: a unix socket fits below it."""
    path = Path(tempfile.mkdtemp(prefix="isthmus-"))
    yield path
    end_everything_below(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def supervisor(plugin: Plugin, folder: Path) -> wire.Resource:
    return plugin.create("LocalSupervisor", {"directory": str(folder / "sv")})


def processes_below(directory: Path) -> list[psutil.Process]:
    """What runs under a supervisor in or below that folder."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("ISTHMUS_SUPERVISOR", "")
            if marked.startswith(str(directory)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_everything_below(directory: Path) -> None:
    for process in processes_below(directory):
        process.kill()


def eventually(condition: Callable[[], Any], timeout_seconds: float = 20) -> Any:
    """What the condition returns once it is true."""
    deadline = patience.Deadline(timeout_seconds)
    while not deadline.over():
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_seconds} s: {condition}")


def in_background(work: Callable[[], Any]) -> "futures.Future[Any]":
    future: futures.Future[Any] = futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@pytest.fixture(name="processes_below")
def _processes_below() -> Callable[[Path], list[psutil.Process]]:
    return processes_below


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture(name="free_port")
def _free_port() -> int:
    return choose(())


@pytest.fixture(name="in_background")
def _in_background() -> Callable[[Callable[[], Any]], "futures.Future[Any]"]:
    return in_background
