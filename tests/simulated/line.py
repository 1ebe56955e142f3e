"""A device's way to the store, with all that goes over it counted. Many share a few connections: this process has no 10,000 sockets."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from isthmus_agent.manager.signing_v4 import Credentials, StoreClock
from isthmus_agent.manager.transport import METADATA_PATIENCE, Answer, Patience
from isthmus_agent.manager.way import Way

IDLE: Final = "idle poll"
REPORT: Final = "report"
BUNDLE: Final = "bundle"
_KINDS: Final = (
    (re.compile(r"/timestamp\.json$"), "timestamp"),
    (re.compile(r"/\d+\.root\.json$"), "root probe"),
    (re.compile(r"/\d+\.snapshot\.json$"), "snapshot"),
    (re.compile(r"/\d+\.targets\.json$"), "targets"),
    (re.compile(r"/\d+\.[^/]+\.json$"), "fleet role"),
    (re.compile(r"\.(bundle|delta)$"), BUNDLE),
    (re.compile(r"/health/"), REPORT),
)


def kind_of(method: str, path: str, status: int) -> str:
    """What a request is for, in a word or two."""
    if status == 304:
        return IDLE
    if method == "DELETE":
        return "old report"
    return next((kind for pattern, kind in _KINDS if pattern.search(path)), "other")


@dataclass
class Traffic:
    """What all devices asked for. written: when each report's key was put last. pools: of connections."""

    now: Callable[[], float]
    total: Counter[str]
    written: dict[str, float]
    pools: dict[Any, Any]
    root_path: str


class Line(Way):
    """log: (when, what) of this device's requests."""

    def __init__(self, credentials: Credentials | None, clock: StoreClock, traffic: Traffic) -> None:
        super().__init__(credentials, clock)
        self._kept = traffic.pools
        self._traffic = traffic
        self.log: list[tuple[float, str]] = []

    @contextmanager
    def _asked(
        self, method: str, url: str, headers: Mapping[str, str], patience: Patience = METADATA_PATIENCE, body: bytes | None = None
    ) -> Iterator[Answer]:
        with super()._asked(method, url, headers, patience, body) as answer:
            path = unquote(urlsplit(url).path)
            kind = kind_of(method, path, answer.status)
            self._traffic.total[kind] += 1
            self.log.append((self._traffic.now(), kind))
            if method == "PUT" and answer.status < 300:
                self._traffic.written[path.removeprefix(self._traffic.root_path)] = self._traffic.now()
            yield answer
