"""Fixtures of the agent's tests: a real store, releases with a real TFLite file, agents as processes of their own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
from tests.isthmus_agent import tiny_model as tiny
from toolchain.testing import patience

from isthmus.release import bundle, fleet
from isthmus.release.fleet import Report, Target
from isthmus.release.manifest import EDGE, GOLDEN_NAME, FileEntry, Manifest, Record, Release, TensorSpec, Timing, Variant
from isthmus.release.signing import KeyPair
from isthmus.release.store import Store

PREFIX = "fleets/cameras/"
DEADLINE_SECONDS = 60
GOLDEN_ROWS = [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.5], [0.2, 0.3, 0.4, 0.5]]


@pytest.fixture(scope="session")
def tiny_model() -> ModuleType:
    """The writer of small TFLite files."""
    return tiny


@pytest.fixture
def make_release(tmp_path: Path, tiny_model: ModuleType) -> Callable[..., Release]:
    """Releases of the tiny model. weights: of the file; golden_weights: those that gave the golden answer."""

    def make(
        weights: np.ndarray = tiny_model.WEIGHTS,
        golden_weights: np.ndarray | None = None,
        content: bytes | None = None,
        version: int = 1,
        golden: object = None,
    ) -> Release:
        directory = tmp_path / f"release-{uuid.uuid4().hex[:8]}"
        answer = tiny_model.answer(GOLDEN_ROWS, weights if golden_weights is None else golden_weights)
        document = {
            "signature": tiny_model.SIGNATURE,
            "inputs": {tiny_model.INPUT: GOLDEN_ROWS},
            "outputs": {tiny_model.OUTPUT: answer.tolist()},
        }
        entries = {}
        for path, data in (
            ("edge/model.tflite", tiny_model.tflite(weights) if content is None else content),
            (GOLDEN_NAME, json.dumps(document if golden is None else golden).encode()),
        ):
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
            entries[path] = FileEntry(path, len(data), hashlib.sha256(data).hexdigest())
        manifest = Manifest(
            model="digits",
            version=version,
            recipe="none",
            signature=tiny_model.SIGNATURE,
            inputs=(TensorSpec(tiny_model.INPUT, "float32", (-1, tiny_model.FEATURES)),),
            outputs=(TensorSpec(tiny_model.OUTPUT, "float32", (-1, tiny_model.CLASSES)),),
            variants=(Variant(EDGE, "none", (entries["edge/model.tflite"],), None, 0.0),),
            golden=entries[GOLDEN_NAME],
            golden_tolerance=1e-3,
            source_accuracy=None,
            evaluation_examples=0,
            tools=(),
        )
        timing = Timing(1.0, 1.0, 1.0, 10)
        return Release(directory, manifest, Record("any", "2026-01-01T00:00:00+00:00", timing, timing))

    return make


@dataclass
class Fleet:
    """The side of who rolls out."""

    store: Store
    keys: KeyPair
    attempt: int = 0

    def roll_out(self, release: Release, **changes: Any) -> Target:
        """Publishes a release's bundle and makes it the target, under the next attempt."""
        bundle.publish(self.store, PREFIX, release, self.keys.private_pem)
        return self.aim(release.digest, **changes)

    def aim(self, digest: str, **changes: Any) -> Target:
        self.attempt += 1
        target = replace(Target("cameras", self.attempt, digest, "digits"), **changes)
        fleet.publish_target(self.store, PREFIX, target, self.keys.private_pem, fleet.target_tag(self.store, PREFIX))
        return target

    def report(self, device: str = "camera-1") -> Report | None:
        return fleet.read_reports(self.store, PREFIX, [device]).get(device)

    def settled(self, target: Target) -> Report:
        """The device's answer to a target, when it has one."""
        return eventually(lambda: ((r := self.report()) and r.answers(target) and r.state != "starting" and r) or None)


@pytest.fixture
def cameras(store: Store, keys: KeyPair) -> Fleet:
    return Fleet(store, keys)


@dataclass
class Agent:
    """One agent process, which can be started again with the same state."""

    config: dict[str, Any]
    path: Path
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = None
    logs: list[Path] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config['port']}"

    def start(self) -> "Agent":
        self.path.write_text(json.dumps(self.config))
        self.path.chmod(0o600)
        self.logs.append(self.path.with_suffix(f".{len(self.logs)}.log"))
        with self.logs[-1].open("wb") as log:
            command = [sys.executable, "-m", "isthmus.agent", "--config", str(self.path)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        eventually(self.is_alive)
        return self

    def is_alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    @property
    def log(self) -> str:
        return "\n".join(log.read_text() for log in self.logs)

    def predict(self, rows: object, **options: Any) -> requests.Response:
        return requests.post(f"{self.url}/v1/models/digits:predict", json={"instances": rows, **options}, timeout=30)

    def serves(self, release: Release) -> bool:
        return bool(requests.get(f"{self.url}/healthz", timeout=5).json()["digest"] == release.digest)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process = None
        return status


@pytest.fixture
def make_agent(store: Store, keys: KeyPair, tmp_path: Path, seaweedfs: ModuleType) -> Iterator[Callable[..., Agent]]:
    """Agents that are ended with the test. changes: of the configuration."""
    agents: list[Agent] = []

    def make(device: str = "camera-1", **changes: Any) -> Agent:
        (port,) = seaweedfs.free_ports(1)
        address = store.address
        config = {
            "device": device,
            "fleet": "cameras",
            "model": "digits",
            "state_directory": str(tmp_path / device),
            "port": port,
            "store": {
                "endpoint": address.endpoint,
                "bucket": store.bucket,
                "prefix": PREFIX,
                "access_key": address.access_key,
                "secret_key": address.secret_key,
            },
            "public_key": keys.public_pem,
            "poll_seconds": 0.1,
            **changes,
        }
        agents.append(Agent(config, tmp_path / f"{device}.json", dict(os.environ)))
        return agents[-1]

    yield make
    for agent in agents:
        if agent.process is not None:
            agent.process.kill()
            agent.process.wait()


def eventually(found: Callable[[], Any]) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = patience.Deadline(DEADLINE_SECONDS)
    while not (answer := found()):
        assert not deadline.over(), "it did not come about"
        time.sleep(0.02)
    return answer


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], Any]], Any]:
    return eventually
