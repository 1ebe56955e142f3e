"""Requests to the API server of a program's cluster: patient where it is known to be there."""

import time
from functools import partial
from typing import Any, Final

from isthmus.apiserver.connection import Connection, Object
from isthmus.apiserver.errors import ApiError, UnreachableApiError
from isthmus.apiserver.kubeconfig import Access
from isthmus.apiserver.retrying import AWAY_SECONDS, patiently
from isthmus.plugin.bags.handler import Call

# At the first contact a server is there or it is not.
_FIRST_CONTACT_SECONDS: Final = 5.0


class Client:
    """One API server. Safe in threads; connects at the first request."""

    def __init__(self, access: Access) -> None:
        self._connection = Connection(access)
        self._reached = False
        self._unreachable: tuple[float, UnreachableApiError] | None = None

    @property
    def default_namespace(self) -> str:
        """Where objects go that name no namespace."""
        return self._connection.namespace

    def get(self, call: Call, path: str, **query: str) -> Object:
        """An object, or a list of them. Raises ApiError with status 404 where there is none."""
        answer: Object = self.request(call, "GET", path, query)
        return answer

    def request(self, call: Call, method: str, path: str, query: dict[str, str] | None = None, **more: Any) -> Any:
        """What the API server answers: JSON as Python values, or a text. more: as of `Connection.send`.

        A server that is away or overloaded is asked again for a while, which is safe because all our requests may be repeated.

        Raises:
            ApiError: it refused.
            UnreachableApiError: it does not answer.
            StoppedWaitingError: the engine asked to stop.
        """
        if self._unreachable and time.monotonic() - self._unreachable[0] < _FIRST_CONTACT_SECONDS:
            raise self._unreachable[1]
        patience_seconds = AWAY_SECONDS if self._reached else _FIRST_CONTACT_SECONDS
        try:
            answer = patiently(partial(self._connection.send, method, path, query, **more), patience_seconds, call.progress, call.pause)
        except UnreachableApiError as error:
            if not self._reached:
                # Every other resource of this run would wait as long, only to learn the same.
                self._unreachable = (time.monotonic(), error)
            raise
        except ApiError:
            self._reached = True
            raise
        self._reached = True
        return answer
