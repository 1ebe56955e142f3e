"""A fleet in a store on loopback, and devices of it: whole programs, as processes of their own."""

import hashlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fleet_store import MemoryStore, Served
from toolchain.testing import patience

from isthmus.release import deltas
from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish
from isthmus_agent.formats import bundle, enrolment, report, sealed_contents, sealing
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.enrolment import Enrolment, Token
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Report

FLEET, DEVICE, PREFIX = "cameras", "camera-1", "edge/"
SECRET = b"the fleet's report secret"
ROWS = [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.5]]


def plain(model: bytes, outputs: Sequence[Sequence[float]], version: int) -> bytes:
    """A bundle's plain form, of a model from 4 numbers to 3. outputs: what the golden vectors say of ROWS."""
    manifest = {
        "model": "digits",
        "version": version,
        "signature": "serving_default",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 4]}],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [-1, 3]}],
        "golden_tolerance": 1e-3,
    }
    golden = {"inputs": {"x": ROWS}, "outputs": {"probabilities": outputs}}
    dump = lambda it: json.dumps(it).encode()  # noqa: E731
    return bundle.join({bundle.MODEL: model, bundle.MANIFEST: dump(manifest), bundle.GOLDEN: dump(golden), bundle.GATES: b"{}"})


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Fleet:
    """The operator's side. http: the store's; told: what it was told last, to have it told again."""

    http: Served
    place: Place
    keyring: Keyring

    @classmethod
    def founded(cls, http: Served, folder: Path) -> "Fleet":
        place = Place(http.store, PREFIX)
        keyring = ceremony.init(folder, [FLEET])
        ceremony.found(place, keyring)
        return cls(http, place, keyring)

    @property
    def store(self) -> MemoryStore:
        return self.http.store

    def tell(
        self,
        content: bytes,
        *,
        old: bytes | None = None,
        key: bytes | None = None,
        probation: Probation = Probation(1),  # noqa: B008
        **more: Any,
    ) -> int:
        """Gives all devices a content, and returns the assignment's number. old: makes a delta from it. key: seals the bundle."""
        digest, full = digest_of(content), deltas.make(b"", content)
        full, name = (full, None) if key is None else (sealed_contents.sealed(key, full), sealed_contents.key_name(key))
        path = f"{FLEET}/{digest[7:19]}.bundle"
        files, known = {path: full}, []
        if old is not None:
            made = deltas.make(old, content)
            known = [Delta(digest_of(old), digest, f"{FLEET}/{digest_of(old)[7:19]}-{digest[7:19]}.delta", len(made))]
            files[known[0].path] = made

        def change(told: Assignment | None, number: int) -> Assignment:
            before = Before(told.number, told.variants) if told else None
            waves, variants = (Wave("all", WHOLE_SHARE),), (Variant("*", digest, path, len(full), name),)
            common: dict[str, Any] = {"before": before, "probation": probation, "deltas": tuple(known), "opened_seconds": (0,), **more}
            return Assignment(FLEET, number, "00" * 8, variants, waves, 1, **common)

        return publish(self.place, self.keyring, FLEET, change, files).assignment.number

    def invite(self, device: str = DEVICE, generation: int = 1) -> str:
        """A token for a device, as `isthmus fleet enrol` makes it; this store needs no signatures."""
        root = self.keyring.root_at(1)
        assert root is not None
        key = report.device_key(SECRET, FLEET, device, generation)
        joins = Enrolment(
            FLEET, device, "small", {"site": "a"}, generation, self.http.url + PREFIX, "us-east-1", "key", "s" * 20, key, root
        )
        secret = hashlib.sha256(f"{device}/{generation}".encode()).digest()
        places = [f"{PREFIX}enrol/{device}-{generation}.{it}" for it in ("sealed", "claim")]
        self.store.put(places[0], sealing.sealed(enrolment.SEALED, secret, joins.to_json(), b"n" * sealing.NONCE_BYTES))
        sealed, claim = (self.http.url + it for it in places)
        return Token(FLEET, device, 2**32, hashlib.sha256(root).hexdigest(), secret, sealed, sealed, claim, claim).text()

    def reports(self, number: int, device: str = DEVICE) -> list[Report]:
        """What a device says about an assignment, verified."""
        key = report.device_key(SECRET, FLEET, device, 1)
        return [report.read(it, PREFIX).verified(FLEET, key) for it in self.store.list(report.folder(PREFIX, number))]

    def outcome(self, number: int, device: str = DEVICE) -> str:
        """The one outcome that a device reports; empty while there is none."""
        found = self.reports(number, device)
        return found[0].outcome.value if len(found) == 1 else ""

    def await_outcome(self, number: int, outcome: str, seconds: float = 60.0) -> Report:
        patience.wait_until(lambda: self.outcome(number) == outcome, seconds)
        return self.reports(number)[0]


@dataclass
class Living:
    """A device's program. changes: of its configuration. is_enrolled: it says nothing of who the device is. name: its own."""

    fleet: Fleet
    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)
    is_enrolled: bool = False
    name: str = DEVICE
    process: "subprocess.Popen[bytes] | None" = None
    url: str = ""

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def configured(self) -> Path:
        """The configuration's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        endpoint, _, rest = self.fleet.http.url.removeprefix("http://").partition("/")
        root = self.fleet.keyring.root_at(1)
        assert root is not None
        identity = {
            "device": self.name,
            "fleet": FLEET,
            "store": {"endpoint": f"http://{endpoint}", "bucket": rest.rstrip("/"), "prefix": PREFIX},
            "root": json.loads(root),
            "report_key": report.device_key(SECRET, FLEET, self.name, 1).hex(),
        }
        value = {
            **({} if self.is_enrolled else identity),
            "model": "digits",
            "state_directory": str(self.state),
            "listen": {"address": "127.0.0.1", "port": 0},
            "limits": {"request_seconds": 2.0, "self_test_seconds": 60.0},
            "poll_seconds": 0.3,
            "heartbeat_seconds": 30.0,
            "measure_seconds": 0.3,
            "retry_seconds": 0.3,
            **self.changes,
        }
        file = self.folder / "config.json"
        file.write_text(json.dumps(value))
        file.chmod(0o600)
        return file

    def arguments(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "isthmus_agent", *arguments, "--config", str(self.configured())]

    def start(self, program: Sequence[str] = ()) -> "Living":
        """Starts it. program: instead of the plain one."""
        log = (self.folder.parent / f"{self.folder.name}.log").open("wb")
        with log:
            self.process = subprocess.Popen(list(program) or self.arguments("run"), stderr=log, cwd=self.folder)
        self.url = patience.wait_until(self._listens, 30.0)
        return self

    def _listens(self) -> str:
        line = (self.folder.parent / f"{self.folder.name}.log").read_text()
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(line)
        return next((word for word in line.split() if word.startswith("http://127")), "")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(60)

    def served(self) -> str | None:
        """The content that answers, by its digest; None where nothing does."""
        try:
            found: str | None = self.health().get("content")
        except (OSError, http.client.HTTPException):
            return None
        return found

    def health(self) -> dict[str, Any]:
        """What `/healthz` says."""
        found: dict[str, Any] = self._asked("GET", "/healthz")[1]
        return found

    def predict(self, rows: object = ROWS) -> Any:
        """The answer to a request, or the status of what is none."""
        status, found = self._asked("POST", "/v1/models/digits:predict", json.dumps({"instances": rows}))
        return found["predictions"] if status == 200 else status

    def _asked(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        finally:
            connection.close()

    def await_served(self, content: bytes, seconds: float = 60.0) -> None:
        patience.wait_until(lambda: self.served() == digest_of(content), seconds)

    def ask(self, *arguments: str, told: str = "") -> "subprocess.CompletedProcess[str]":
        """One of the other commands. told: on its standard input."""
        return subprocess.run(self.arguments(*arguments), input=told, capture_output=True, text=True, timeout=120, check=False)

    def told(self) -> dict[str, Any]:
        """What `status --json` says."""
        found: dict[str, Any] = json.loads(self.ask("status", "--json").stdout)
        return found

    def await_told(self, check: Callable[[dict[str, Any]], object], seconds: float = 60.0) -> dict[str, Any]:
        found: dict[str, Any] = patience.wait_until(lambda: check(it := self.told()) and it, seconds, 0.3)
        return found
