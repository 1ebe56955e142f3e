"""How to see that a replica answers."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from isthmus.provider.local.ports import HOST
from isthmus.provider.local.unix import UnixConnection

DEFAULT_TIMEOUT_SECONDS: Final = 60
# One probe; a server that is still loading may take its time with the first answer.
_PROBE_SECONDS: Final = 5
_LONGEST_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Probe:
    """where: a port's number, or a Unix socket's path. path: of an HTTP GET that has to succeed; None: a connection is enough.
    contains: in its answer.
    """

    where: int | str
    path: str | None
    contains: str | None

    def __str__(self) -> str:
        is_port = isinstance(self.where, int)
        if self.path is None:
            return f"a connection to {'port' if is_port else 'socket'} {self.where}"
        answer = f" that holds {self.contains!r}" if self.contains else ""
        return f"an answer{answer} from {f'http://{HOST}:{self.where}{self.path}' if is_port else f'{self.path} at {self.where}'}"

    def failure(self) -> str | None:
        """Asks once. None: ready; otherwise what was wrong."""
        connection = self._connection()
        try:
            if self.path is None:
                connection.connect()
                return None
            return self._http_failure(connection, self.path)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self.where, int):
            return http.client.HTTPConnection(HOST, self.where, timeout=_PROBE_SECONDS)
        return UnixConnection(self.where, _PROBE_SECONDS)

    def _http_failure(self, connection: http.client.HTTPConnection, path: str) -> str | None:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(_LONGEST_ANSWER_BYTES).decode(errors="replace")
        if not 200 <= response.status < 300:
            return f"HTTP {response.status}"
        if self.contains and self.contains not in body:
            return f"the answer does not hold {self.contains!r}"
        return None


def probe(ready: Mapping[str, Any], ports: Mapping[str, int], sockets: Mapping[str, str]) -> Probe | None:
    """The probe that `ready` describes; None where it asks for nothing but a running process."""
    if "socket" in ready:
        where: int | str = sockets[ready["socket"]]
    elif "port" in ready:
        where = ports[ready["port"]]
    else:
        return None
    return Probe(where, ready.get("path") or None, ready.get("contains") or None)
