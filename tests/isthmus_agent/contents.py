"""Contents for servers: bundles of small TFLite files, and servers to ask."""

import hashlib
import http.client
import io
import json
import queue
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.isthmus_agent import tiny_model as tiny
from toolchain.testing import patience

from isthmus_agent.channel import Limits
from isthmus_agent.core.events import Event
from isthmus_agent.formats import bundle, digests
from isthmus_agent.formats.fusion_group import FusionGroup, Member
from isthmus_agent.formats.halves import Halves, Tensor, Way
from isthmus_agent.formats.policy import LOAD, NETWORK, Measured, Policy
from isthmus_agent.manager.evidence import Evidence
from isthmus_agent.manager.listening import listen_tcp
from isthmus_agent.manager.serving import Serving, Settings

HERE = Path(__file__).parent
SECONDS = 60
MODEL = "digits"
ROWS = [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.5], [0.2, 0.3, 0.4, 0.5]]

Spec = tuple[str, str, Sequence[int] | None]
"""Name, dtype, shape."""


def manifest_of(inputs: Sequence[Spec], outputs: Sequence[Spec], version: int = 1, tolerance: float = 1e-3) -> bytes:
    """The part of a release's manifest that devices read."""
    document = {
        "model": MODEL,
        "version": version,
        "signature": tiny.SIGNATURE,
        "inputs": [dict(zip(("name", "dtype", "shape"), spec, strict=True)) for spec in inputs],
        "outputs": [dict(zip(("name", "dtype", "shape"), spec, strict=True)) for spec in outputs],
        "golden_tolerance": tolerance,
    }
    return json.dumps(document, sort_keys=True).encode()


def content_of(model: bytes, manifest: bytes, golden: object, gates: object = None) -> bytes:
    """A bundle's plain form."""
    documents = {bundle.GOLDEN: golden, bundle.GATES: gates or {}}
    written = {name: json.dumps(it).encode() for name, it in documents.items()}
    return bundle.join({bundle.MODEL: model, bundle.MANIFEST: manifest, **written})


def unsure_content(temperature: float, min_confidence: float, floor: float = 1e-9) -> bytes:
    """The tiny model, calibrated, and with what it says is sure enough."""
    plain = io.BytesIO(tiny_content())
    calibration = {"scores": "probabilities", "temperature": temperature, "floor": floor}
    manifest = json.dumps({**bundle.document(plain, bundle.MANIFEST), "calibration": calibration}).encode()
    gates = {bundle.MIN_CONFIDENCE: min_confidence}
    return content_of(bundle.read(plain, bundle.MODEL), manifest, bundle.document(plain, bundle.GOLDEN), gates)


def routed_content(places: Sequence[str], table: Sequence[int], *, step_ms: int = 100, busy: int = 20, release: str = "") -> bytes:
    """The tiny model with a migration policy. table: for each place, of the network (any, cut) × the load (calm, busy: so many requests a
    second). release: that the policy is for; empty: the bundle's own."""
    plain = io.BytesIO(tiny_content())
    manifest = bundle.read(plain, bundle.MANIFEST)
    network = Measured(NETWORK, "ms", ("any", "cut"), (10**9,), 0, 1)
    load = Measured(LOAD, "per second", ("calm", "busy"), (busy * 1000,))
    policy = Policy(release or digests.of(manifest), "*", tuple(places), (network, load), tuple(table), step_ms)
    gates = {bundle.POLICY: policy.to_json().decode()}
    return content_of(bundle.read(plain, bundle.MODEL), manifest, bundle.document(plain, bundle.GOLDEN), gates)


VIEWS = ("door", "north", "quay")


def group_content(members: Sequence[str] = VIEWS, *, wait_ms: int = 30_000, release: str = "", version: int = 1) -> bytes:
    """The tiny model with its group's file. release: that the file is for; empty: the bundle's own."""
    plain = io.BytesIO(tiny_content(version))
    manifest = bundle.read(plain, bundle.MANIFEST)
    rows = tuple((100_000,) * place for place in range(len(members)))
    its = tuple(Member(name, 1_000_000, (3 + place) * 1_000_000) for place, name in enumerate(members))
    group = FusionGroup(release or digests.of(manifest), 4000, its, rows, (-1099,) * tiny.CLASSES)
    gates = {bundle.GROUP: {bundle.GROUP_FILE: group.to_bytes().decode(), bundle.WAIT_MS: wait_ms}}
    return content_of(bundle.read(plain, bundle.MODEL), manifest, bundle.document(plain, bundle.GOLDEN), gates)


def halved_content(release: str = "") -> bytes:
    """The tiny model, whose answer is what it would send to a tail. release: that the halves are of; empty: the bundle's own."""
    plain = io.BytesIO(tiny_content())
    manifest = bundle.read(plain, bundle.MANIFEST)
    crosses = Tensor(tiny.OUTPUT, "float32", (1, tiny.CLASSES))
    way = Way(tiny.SIGNATURE, "tail_1", (crosses,), deflate=False, head_microseconds=1, cloud_microseconds=1, sent_bytes=12)
    gates = {bundle.HALVES: Halves(release or digests.of(manifest), 1, 0, (way,)).to_json().decode()}
    return content_of(bundle.read(plain, bundle.MODEL), manifest, bundle.document(plain, bundle.GOLDEN), gates)


def tiny_content(
    version: int = 1, weights: Any = tiny.WEIGHTS, golden_weights: Any = None, model: bytes | None = None, rows: Any = ROWS
) -> bytes:
    """Of the tiny model, whose answers are known by heart. golden_weights: those that gave the golden answer. rows: golden inputs."""
    answer = tiny.answer(rows, weights if golden_weights is None else golden_weights)
    golden = {"inputs": {tiny.INPUT: rows}, "outputs": {tiny.OUTPUT: answer.tolist()}}
    manifest = manifest_of([(tiny.INPUT, "float32", (-1, tiny.FEATURES))], [(tiny.OUTPUT, "float32", (-1, tiny.CLASSES))], version=version)
    return content_of(tiny.tflite(weights) if model is None else model, manifest, golden)


def loop_content() -> bytes:
    """It never ends on LOOPS."""
    golden = {"inputs": {"x": [[1.0, 2.0, 3.0, 1.0]]}, "outputs": {"probabilities": [[0.5, 0.5]]}}
    manifest = manifest_of([("x", "float32", (-1, 4))], [("probabilities", "float32", (-1, 2))], version=3)
    return content_of((HERE / "server" / "loop.tflite").read_bytes(), manifest, golden)


LOOPS = [[1e30, 0.0, 0.0, 0.0]]


def fmod_content() -> bytes:
    """It ends the process on DIVIDES."""
    golden = {"inputs": {"x": [[7, 4]]}, "outputs": {"y": [[3]]}}
    manifest = manifest_of([("x", "int32", (1, 2))], [("y", "int32", (1, 1))], version=2)
    return content_of((HERE / "server" / "fmod.tflite").read_bytes(), manifest, golden)


DIVIDES = [[-2147483648, -1]]


def answered(rows: Sequence[Sequence[float]]) -> Any:
    """What the tiny model answers."""
    return tiny.answer(rows)


@dataclass
class Served:
    """What is served by real processes, and what was told of it."""

    serving: Serving
    events: "queue.SimpleQueue[Event]"
    folder: Path
    port: int

    def keep(self, content: bytes) -> str:
        """Puts a content where it is looked for. Its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (self.folder / digest[7:]).write_bytes(content)
        return digest

    def serve(self, content: bytes, against: bytes | None = None) -> Event:
        """What is told of the order to serve it. against: the version before."""
        self.serving.serve(self.keep(content), None if against is None else self.keep(against))
        return self.told()

    def told(self) -> Event:
        """The next event."""
        deadline = patience.Deadline(SECONDS)
        while True:
            try:
                return self.events.get(timeout=1)
            except queue.Empty:
                assert not deadline.over(), "nothing was told"

    def connect(self) -> http.client.HTTPConnection:
        """A connection, as a client has it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience.scaled(SECONDS))

    def predict(self, rows: object, connection: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        """Status and document of an answer."""
        return ask(connection or self.connect(), "POST", f"/v1/models/{MODEL}:predict", {"instances": rows})

    def get(self, path: str) -> tuple[int, Any]:
        """Status and document of an answer."""
        return ask(self.connect(), "GET", path)

    @property
    def pid(self) -> int:
        """Of the one server."""
        (found,) = self.serving.pids
        return found


def ask(connection: http.client.HTTPConnection, method: str, path: str, document: object = None) -> tuple[int, Any]:
    """Status and document of an answer."""
    body = None if document is None else json.dumps(document)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def start(folder: Path, listener: socket.socket | None = None, evidence: Evidence | None = None, **settings: Any) -> Served:
    """Nothing is served yet. evidence, counting: as for Serving. settings: of Settings, and those of Limits."""
    counting = settings.pop("counting", None)
    limits = {name: settings.pop(name) for name in list(settings) if name in Limits.__dataclass_fields__}
    folder.mkdir(exist_ok=True)
    listener = listener or listen_tcp("127.0.0.1", 0)
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    chosen = Settings(limits=Limits(**limits), about={"device": "camera-1", "fleet": "cameras"}, **settings)
    serving = Serving([listener], chosen, told.put, lambda digest: folder / digest[7:], counting=counting, evidence=evidence)
    served = Served(serving, told, folder, 0)
    address = listener.getsockname()
    served.port = 0 if isinstance(address, str) else address[1]
    served.serving.start()
    return served


def eventually(found: Callable[[], Any]) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = patience.Deadline(SECONDS)
    while not (answer := found()):
        assert not deadline.over(), "it did not come about"
        time.sleep(0.02)
    return answer


def close_to(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same but for rounding."""
    return bool(np.allclose(np.asarray(found), np.asarray(wanted), atol=1e-4))
