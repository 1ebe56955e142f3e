"""A release in a cache, and a real store under the plugin's own supervisor."""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from isthmus.platforms.local import desired as local
from isthmus.provider.local import certificates
from isthmus.release import fleet, signing
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
from isthmus.release.store import Store, StoreAddress

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


class Devices:
    """Answer every target as they are told: `serving`, `refused`, or not at all."""

    def __init__(self, store: Store, prefix: str, public_key: str) -> None:
        self.answers: dict[str, str] = {}
        self._store, self._prefix, self._public_key = store, prefix, public_key
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            target = fleet.read_target(self._store, self._prefix, self._public_key)
            with self._one_at_a_time:
                for device, answer in list(self.answers.items()) if target else ():
                    self._report(device, answer, target)

    def change(self, device: str, answer: str, target: fleet.Target) -> None:
        """From now on the device answers so, and has done it once: no earlier answer comes after it."""
        with self._one_at_a_time:
            self.answers[device] = answer
            self._report(device, answer, target)

    def _report(self, device: str, answer: str, target: fleet.Target) -> None:
        serving = target.digest if answer == "serving" else ""
        reason = "wrong digest" if answer == "refused" else ""
        report = fleet.Report(device, target.fleet, target.digest, target.attempt, answer, reason, serving)  # type: ignore[arg-type]
        fleet.write_report(self._store, self._prefix, report)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


class StackStore:
    """SeaweedFS as a stack runs it: a LocalProcesses of the plugin."""

    def __init__(self, plugin: Any, directory: Path) -> None:
        self._plugin = plugin
        self.supervisor = plugin.create("LocalSupervisor", {"directory": str(directory)}, name="store-supervisor")
        own = certificates.for_loopback()
        processes = {**asdict(local.store("store")), "files": local.store_files(*KEYS, own.certificate_pem, own.private_pem)}
        self._inputs = {**processes, "supervisor": str(directory)}
        self._resource = plugin.create("LocalProcesses", self._inputs, name="store")
        port = self._resource.outputs["endpoints"][0]["s3"]
        self.address = {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "access_key": KEYS[0], "secret_key": KEYS[1]}

    def stop(self) -> None:
        """Ends the store as a stack that goes away does."""
        self._plugin.delete(self._resource)
        self._plugin.delete(self.supervisor)


@pytest.fixture(scope="session")
def store(shared_plugin: Any) -> Iterator[dict[str, str]]:
    """The address of a running store."""
    directory = Path(tempfile.mkdtemp(prefix="isthmus-"))
    stack_store = StackStore(shared_plugin, directory / "sv")
    try:
        yield stack_store.address
    finally:
        stack_store.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def dead_store() -> dict[str, str]:
    """The address of a store of this machine that does not run."""
    listening = {connection.laddr.port for connection in psutil.net_connections("tcp")}
    port = next(port for port in range(19_000, 20_000) if port not in listening)
    return {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1", "access_key": KEYS[0], "secret_key": KEYS[1]}


@pytest.fixture
def devices_of() -> Iterator[Callable[[dict[str, Any]], Devices]]:
    """Devices for the inputs of a Rollout."""
    made = []

    def make(inputs: dict[str, Any]) -> Devices:
        store = Store(StoreAddress.from_inputs(inputs["store"]), inputs["bucket"])
        made.append(Devices(store, inputs["prefix"], signing.public_key(inputs["private_key"])))
        return made[-1]

    yield make
    for devices in made:
        devices.stop()
