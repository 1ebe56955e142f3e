"""How to see that a replica answers, and that it answers right."""

import contextlib
import functools
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.limits import READY_SECONDS
from isthmus.provider import golden
from isthmus.provider.local.layout import GOLDEN_FILE, MANIFEST_FILE
from isthmus.provider.local.ports import HOST
from isthmus.provider.local.unix import UnixConnection

# One probe; a server that is still loading may take its time with the first answer.
_PROBE_SECONDS: Final = 5
_PREDICT_SECONDS: Final = 60
_LONGEST_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Failure:
    """What was wrong. is_final: waiting does not mend it."""

    text: str
    is_final: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Probe:
    """where: a port's number, or a Unix socket's path. path: of an HTTP GET that has to succeed; None: a connection is enough.
    contains: in its answer. golden: the folder of the release whose golden vectors the model at `path` has to answer.
    """

    where: int | str
    path: str | None
    contains: str | None
    golden: str | None = None

    def __str__(self) -> str:
        is_port = isinstance(self.where, int)
        if self.path is None:
            return f"a connection to {'port' if is_port else 'socket'} {self.where}"
        answer = f" that holds {self.contains!r}" if self.contains else ""
        return f"an answer{answer} from {f'http://{HOST}:{self.where}{self.path}' if is_port else f'{self.path} at {self.where}'}"

    def failure(self) -> Failure | None:
        """Asks once. None: ready; otherwise what was wrong."""
        try:
            if self.path is None:
                connection = self._connection(_PROBE_SECONDS)
                with contextlib.closing(connection):
                    connection.connect()
                return None
            return self._http_failure(self.path) or self._wrong_answer(self.path)
        except (OSError, http.client.HTTPException) as error:
            return Failure(str(error) or type(error).__name__)

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if isinstance(self.where, int):
            return http.client.HTTPConnection(HOST, self.where, timeout=timeout_seconds)
        return UnixConnection(self.where, timeout_seconds)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_seconds: float) -> tuple[int, str]:
        connection = self._connection(timeout_seconds)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read(_LONGEST_ANSWER_BYTES).decode(errors="replace")
        finally:
            connection.close()

    def _http_failure(self, path: str) -> Failure | None:
        status, body = self._ask("GET", path, None, _PROBE_SECONDS)
        if not 200 <= status < 300:
            return Failure(f"HTTP {status}")
        if self.contains and self.contains not in body:
            return Failure(f"the answer does not hold {self.contains!r}")
        return None

    def _wrong_answer(self, path: str) -> Failure | None:
        """Another model's answer. One golden vector is enough to tell models apart."""
        expected = _expected(self.golden) if self.golden else None
        if expected is None:
            return None
        status, body = self._ask("POST", f"{path}/versions/{expected.version}:predict", expected.question.body, _PREDICT_SECONDS)
        if status == http.HTTPStatus.NOT_FOUND:
            return Failure(f"it does not serve version {expected.version}", is_final=True)
        if status >= 500:  # it may be busy
            return Failure(f"HTTP {status} for a golden vector")
        off = golden.difference([body], [expected.question])
        if off <= expected.tolerance:
            return None
        return Failure(f"it serves another model: a golden vector is off by {off:.6g}, allowed is {expected.tolerance:.6g}", is_final=True)


@dataclass(frozen=True)
class _Expected:
    version: int
    tolerance: float
    question: golden.Question


def _expected(folder: str) -> _Expected | None:
    """What the release in a folder answers; None where there is none."""
    try:
        return _read(folder, *((Path(folder) / name).stat().st_mtime_ns for name in (MANIFEST_FILE, GOLDEN_FILE)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


# A server that is waited for is asked ten times a second.
@functools.lru_cache(maxsize=16)
def _read(folder: str, *_: int) -> _Expected | None:
    manifest = json.loads((Path(folder) / MANIFEST_FILE).read_bytes())
    asked = golden.questions((Path(folder) / GOLDEN_FILE).read_bytes(), most=1)
    return _Expected(manifest["version"], manifest["golden_tolerance"], asked[0]) if asked else None


def timeout_seconds(ready: Mapping[str, Any]) -> float:
    """How long a replica may take until it is ready."""
    return float(ready.get("timeout_seconds") or READY_SECONDS.default)


def probe(ready: Mapping[str, Any], ports: Mapping[str, int], sockets: Mapping[str, str]) -> Probe | None:
    """The probe that `ready` describes; None where it asks for nothing but a running process."""
    if "socket" in ready:
        where: int | str = sockets[ready["socket"]]
    elif "port" in ready:
        where = ports[ready["port"]]
    else:
        return None
    return Probe(where, ready.get("path") or None, ready.get("contains") or None, ready.get("golden") or None)
