"""What every test shares: hypothesis's settings, a real store, a real browser, and what it compiles."""

import fcntl
import importlib.util
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings
from toolchain.testing import RELEASES

from isthmus.release.store import Store

# The run of all tests: see docs/testing.md.
pytest_plugins = ("toolchain.testing.plugin",)

# A shared machine stalls now and then: a test is judged by what it finds, not by how long one example took.
# CI tries the same examples every time.
settings.register_profile("isthmus", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("isthmus")
# Before a commit a few examples say much; the others are tried in `make test`.
settings.register_profile("quick", settings.get_profile("isthmus"), max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        settings.load_profile("quick")


# A shell has what it starts in the background ignore Ctrl-C, and whatever a process starts inherits that: a test that interrupts
# something would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _beside(name: str) -> ModuleType:
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all tests, since a start takes a second: see `browser.py`."""
    with _beside("browser").running(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def local_browser(tmp_path: Path) -> Iterator[Any]:
    """One that reaches this machine's own ports, for pages that a command serves."""
    with _beside("browser").running(tmp_path / "chromium", reaches_loopback=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def seaweedfs() -> ModuleType:
    """`seaweedfs.py` beside this file."""
    return _beside("seaweedfs")


@pytest.fixture(scope="session")
def store_server(seaweedfs: ModuleType) -> Iterator[Any]:
    """A SeaweedFS of the test run's own."""
    with seaweedfs.running() as server:
        yield server


@pytest.fixture
def store(store_server: Any) -> Iterator[Store]:
    """A bucket of the test's own."""
    store = Store(store_server.address, f"bucket-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    yield store
    store.delete_bucket()


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of releases for tests that need one, but not its compiling: each is compiled once in a run, whichever process asks."""
    shared = os.environ.get(RELEASES)
    return Path(shared) if shared else tmp_path_factory.mktemp("releases")


@pytest.fixture(scope="session")
def once(releases: Path) -> Callable[[str, Callable[[Path], Any]], tuple[Path, Any]]:
    """Makes something in a folder once in a run, whichever of its processes asks first: `once(name, make)` gives the folder, and what
    `make(folder)` returned, by way of JSON. Nobody may change what is there."""

    def get(name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
        folder = releases.with_name(f"{releases.name}-{name}")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "made.json"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
            if not file.exists():
                file.write_text(json.dumps(make(folder)))
        return folder, json.loads(file.read_text())

    return get
