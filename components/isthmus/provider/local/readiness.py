"""How to see that a replica answers."""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from isthmus.provider.local.ports import HOST

DEFAULT_TIMEOUT_SECONDS: Final = 60
# One probe; a server that is still loading may take its time with the first answer.
_PROBE_SECONDS: Final = 5
_LONGEST_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Probe:
    """port: its number. path: of an HTTP GET that has to succeed; None: a TCP connection is enough. contains: in its answer."""

    port: int
    path: str | None
    contains: str | None

    def __str__(self) -> str:
        if self.path is None:
            return f"a connection to port {self.port}"
        answer = f" that holds {self.contains!r}" if self.contains else ""
        return f"an answer{answer} from http://{HOST}:{self.port}{self.path}"

    def failure(self) -> str | None:
        """Asks once. None: ready; otherwise what was wrong."""
        try:
            if self.path is None:
                socket.create_connection((HOST, self.port), _PROBE_SECONDS).close()
                return None
            return self._http_failure(self.path)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__

    def _http_failure(self, path: str) -> str | None:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read(_LONGEST_ANSWER_BYTES).decode(errors="replace")
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            return f"HTTP {response.status}"
        if self.contains and self.contains not in body:
            return f"the answer does not hold {self.contains!r}"
        return None


def probe(ready: Mapping[str, Any], ports: Mapping[str, int]) -> Probe | None:
    """The probe that `ready` describes; None where it asks for nothing but a running process."""
    if "port" not in ready:
        return None
    return Probe(ports[ready["port"]], ready.get("path") or None, ready.get("contains") or None)
