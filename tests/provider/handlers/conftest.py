"""A release in a cache, and a real store under the plugin's own supervisor."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from isthmus.platforms.local import desired as local
from isthmus.provider.local import certificates
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    FileEntry,
    Manifest,
    Record,
    Release,
    TensorSpec,
    Timing,
    Variant,
)

KEYS = ("test-access-key", "test-secret-key")


@pytest.fixture(scope="session")
def cache_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="isthmus-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def make_release(cache_directory: Path) -> Callable[..., Release]:
    """Releases in the cache whose files hold what the test says. They can be fetched and verified, not run."""

    def make(content: bytes = b"weights", version: int = 1) -> Release:
        cache = ReleaseCache(cache_directory)
        with cache.work_directory() as work:
            directory = work / "release"
            entries = {}
            names = (f"serving/{version}/saved_model.pb", f"serving/{version}/variables/data", "edge/model.tflite", GOLDEN_NAME)
            for name in names:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(name.encode() + content)
                data = (directory / name).read_bytes()
                entries[name] = FileEntry(name, len(data), hashlib.sha256(data).hexdigest())
            serving, variables, edge, golden = (entries[name] for name in names)
            manifest = Manifest(
                model="digits",
                version=version,
                recipe="int8",
                signature="serving_default",
                inputs=(TensorSpec("x", "float32", (-1, 4)),),
                outputs=(TensorSpec("y", "float32", (-1, 3)),),
                variants=(Variant(SERVING, "int8", (serving, variables), 0.98, 0.0), Variant(EDGE, "int8", (edge,), 0.98, 0.01)),
                golden=golden,
                golden_tolerance=0.1,
                source_accuracy=0.98,
                evaluation_examples=100,
                tools=(("tool", "1.0"),),
            )
            timing = Timing(1.0, 1.0, 1.0, 10)
            (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
            (directory / RECORD_NAME).write_bytes(Record("any", "2026-01-01T00:00:00+00:00", timing, timing).to_bytes())
            return cache.publish(directory)

    return make


class StackStore:
    """SeaweedFS as a stack runs it: a LocalProcesses of the plugin."""

    def __init__(self, plugin: Any, directory: Path) -> None:
        self._plugin = plugin
        self.identities = {"supervisor": str(directory), "program": "store"}
        self.supervisor = plugin.create("LocalSupervisor", {"directory": str(directory)}, name="store-supervisor")
        own = certificates.for_loopback()
        processes = {**asdict(local.store("store")), "files": local.store_files(*KEYS, own.certificate_pem, own.private_pem)}
        self._inputs = {**processes, "supervisor": str(directory)}
        self._resource = plugin.create("LocalProcesses", self._inputs, name="store")
        port = self._resource.outputs["endpoints"][0]["s3"]
        self.address = {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "access_key": KEYS[0], "secret_key": KEYS[1]}

    def forget_devices(self) -> None:
        """Writes the identities file as it was when the store was made."""
        file = Path(self.identities["supervisor"]) / "replicas" / "store" / "0" / "s3.json"
        file.write_text(self._inputs["files"]["s3.json"])

    def stop(self) -> None:
        """Ends the store as a stack that goes away does."""
        self._plugin.delete(self._resource)
        self._plugin.delete(self.supervisor)


@pytest.fixture(scope="session")
def stack_store(shared_plugin: Any) -> Iterator[StackStore]:
    """A running store."""
    directory = Path(tempfile.mkdtemp(prefix="isthmus-"))
    stack_store = StackStore(shared_plugin, directory / "sv")
    try:
        yield stack_store
    finally:
        stack_store.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def store(stack_store: StackStore) -> dict[str, str]:
    """Its address."""
    return stack_store.address


@pytest.fixture
def dead_store() -> dict[str, str]:
    """The address of a store of this machine that does not run."""
    listening = {connection.laddr.port for connection in psutil.net_connections("tcp")}
    port = next(port for port in range(19_000, 20_000) if port not in listening)
    return {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "access_key": KEYS[0], "secret_key": KEYS[1]}
