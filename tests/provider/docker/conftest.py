"""A real Docker engine with the project's own images, a store that they reach, and releases that can be run."""

import hashlib
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.release import published
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import (
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
from isthmus.release.store import Store

PROJECT = Path(__file__).resolve().parents[3]
if str(PROJECT) not in sys.path:
    sys.path.insert(0, str(PROJECT))

from toolchain import images  # noqa: E402
from toolchain.docker_engine.hosts import BRIDGE_ADDRESS, Engine, Site, start  # noqa: E402
from toolchain.docker_engine.images import load  # noqa: E402
from toolchain.docker_engine.programs import objection  # noqa: E402
from toolchain.prepare.layout import Layout  # noqa: E402
from toolchain.prepare.layout import load as load_layout  # noqa: E402
from toolchain.prepare.steps import PrepareError  # noqa: E402

PREFIX = "digits/"
# y = factor · x, saved by TensorFlow itself, in a process of its own.
MAKE_MODEL = """
import sys
import tensorflow as tf

class Times(tf.Module):
    def __init__(self, factor):
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def f(self, x):
        return {"y": x * self.factor}

for place in sys.argv[1:]:
    model = Times(float(place.rpartition("-")[2]))
    tf.saved_model.save(model, place, signatures={"serving_default": model.f})
"""


@pytest.fixture(scope="session")
def layout() -> Layout:
    return load_layout(PROJECT)


@pytest.fixture(scope="package")
def site(layout: Layout) -> Iterator[Site]:
    """An engine vm-a with the images of server, gateway and fetch."""
    if complaint := objection():
        pytest.skip(complaint)
    with tempfile.TemporaryDirectory(prefix="isthmus-docker-") as folder:
        try:
            archives = images.build(layout)
            engines = start(layout, Path(folder), ["vm-a"])
        except PrepareError as error:
            pytest.skip(str(error))
        with engines:
            for engine in engines:
                for archive in archives.values():
                    load(engine, archive)
            yield engines


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Factor → a SavedModel that multiplies by it."""
    folder = tmp_path_factory.mktemp("models")
    places = {factor: folder / f"model-{factor}" for factor in (2, 3)}
    subprocess.run([sys.executable, "-c", MAKE_MODEL, *map(str, places.values())], check=True, capture_output=True)
    return places


@pytest.fixture(scope="session")
def docker_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def make_release(docker_cache: Path, saved_models: dict[int, Path]) -> Callable[..., Release]:
    """Releases of the model that multiplies by `factor`. golden_factor: what the golden vectors claim that it does."""

    def make(factor: int = 2, version: int = 1, golden_factor: int | None = None) -> Release:
        x = [[1.0, 2.0], [3.0, 4.0]]
        y = [[value * (golden_factor or factor) for value in row] for row in x]
        golden = json.dumps({"signature": "serving_default", "inputs": {"x": x}, "outputs": {"y": y}})
        cache = ReleaseCache(docker_cache)
        with cache.work_directory() as work:
            directory = work / "release"
            contents = {
                f"serving/{version}/{path.relative_to(saved_models[factor])}": path.read_bytes()
                for path in sorted(saved_models[factor].rglob("*"))
                if path.is_file()
            }
            entries = []
            for name, data in {**contents, GOLDEN_NAME: golden.encode()}.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(data)
                entries.append(FileEntry(name, len(data), hashlib.sha256(data).hexdigest()))
            x_spec, y_spec, timing = TensorSpec("x", "float32", (-1, 2)), TensorSpec("y", "float32", (-1, 2)), Timing(1.0, 1.0, 1.0, 10)
            variant = Variant(SERVING, "none", tuple(entries[:-1]), None, 0.0)
            manifest = Manifest(
                "times", version, "none", "serving_default", (x_spec,), (y_spec,), (variant,), entries[-1], 0.01, None, 0, ()
            )
            (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
            (directory / RECORD_NAME).write_bytes(Record("any", "2026-01-01T00:00:00+00:00", timing, timing).to_bytes())
            return cache.publish(directory)

    return make


@dataclass
class Machine:
    """One engine as the plugin's resources name it."""

    engine: Engine
    site: Site
    images: dict[str, str]

    @property
    def host(self) -> dict[str, Any]:
        return {"name": self.engine.name, "address": self.engine.host, "ssh_options": []}

    def get(self, url: str, *options: str) -> subprocess.CompletedProcess[str]:
        """curl from the bridge that all engines lie on."""
        command = self.site.enter(["curl", "--silent", "--show-error", "--max-time", "20", *options, url])
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def containers(self, **filters: Any) -> list[Any]:
        client = self.engine.client()
        try:
            return list(client.api.containers(all=True, filters=filters))
        finally:
            client.close()

    def run(self, command: str, root: str) -> str:
        """What a shell on the host would say."""
        client = self.engine.client()
        try:
            output = client.containers.run(
                self.images["fetch"],
                ["-c", command],
                entrypoint="sh",
                user="0:0",
                remove=True,
                volumes={root: {"bind": root, "mode": "rw"}},
            )
            return bytes(output).decode()
        finally:
            client.close()


@pytest.fixture
def machine(site: Site) -> Iterator[Machine]:
    """The engine, with nothing on it before and after."""
    (engine,) = site
    yield Machine(engine, site, {"serving": images.SERVING, "gateway": images.ENVOY, "fetch": images.FETCH})
    client = engine.client()
    for container in client.containers.list(all=True):
        container.remove(force=True)
    client.close()


@pytest.fixture
def pull(site: Site, store: Store) -> dict[str, str]:
    """The store as a host reaches it."""
    port = site.expose(int(store.address.endpoint.rpartition(":")[2]))
    address = store.address
    return {
        "endpoint": f"http://{BRIDGE_ADDRESS}:{port}",
        "region": address.region,
        "access_key": address.access_key,
        "secret_key": address.secret_key,
    }


@pytest.fixture
def published_to(store: Store, pull: dict[str, str]) -> tuple[Store, dict[str, str]]:
    """A bucket, and its store as a host reaches it."""
    return store, pull


@pytest.fixture
def root() -> Iterator[str]:
    """A folder of a host that nobody else uses. Engines share the machine's file system below the places of their own."""
    path = f"/var/tmp/isthmus-{uuid.uuid4().hex[:8]}"  # noqa: S108
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture
def folder_inputs(
    machine: Machine, published_to: tuple[Store, dict[str, str]], root: str, docker_cache: Path, make_release: Callable[..., Release]
) -> Callable[..., dict[str, Any]]:
    """Inputs of a DockerModelFolder for a release, which is published."""

    def inputs(release: Release | None = None) -> dict[str, Any]:
        store, pull = published_to
        release = release or make_release()
        published.publish(store, PREFIX, release)
        return {
            "host": machine.host,
            "image": machine.images["fetch"],
            "root": root,
            "folder": f"times/{release.digest[7:19]}",
            "digest": release.digest,
            "cache_directory": str(docker_cache),
            "store": pull,
            "bucket": store.bucket,
            "prefix": PREFIX,
            "deadline_seconds": 60,
        }

    return inputs
