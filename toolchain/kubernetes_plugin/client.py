"""Requests to one API server: authentication, retries, and errors in words."""

import json
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from toolchain.kubernetes_plugin.kubeconfig import connect
from toolchain.kubernetes_plugin.settings import Settings

from isthmus.errors import PlatformError
from isthmus.plugin.bags.handler import Call
from isthmus.plugin.handler import StoppedWaitingError

Object = dict[str, Any]

# How long an API server may be away in the middle of an update. At the first contact it is there or it is not.
AWAY_SECONDS: Final = 60.0
_FIRST_CONTACT_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 5.0
_TRY_LATER: Final = frozenset({429, 502, 503, 504})

APPLY: Final = "application/apply-patch+yaml"


class UnreachableError(PlatformError):
    """The API server does not answer."""


class ApiError(PlatformError):
    """The API server refused. code: of HTTP. reason: as in Kubernetes' Status, `AlreadyExists` say."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        super().__init__(str(status.get("message") or f"the API server answered with status {code}"))
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.details: Mapping[str, Any] = status.get("details") or {}

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """What exactly is wrong: {reason, message, field} each."""
        return list(self.details.get("causes") or ())


class Client:
    """One API server. Safe in threads; connects at the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: tuple[Any, str, str] | None = None
        self._reached = False
        self._unreachable: tuple[float, str] = (0.0, "")

    def _connected(self) -> tuple[Any, str, str]:
        with self._lock:
            if self._connection is None:
                self._connection = connect(self._settings)
            return self._connection

    @property
    def default_namespace(self) -> str:
        """Where objects go that name no namespace."""
        return self._connected()[1]

    def get(self, call: Call, path: str, **query: str) -> Object:
        """An object, or a list of them. Raises ApiError with code 404 where there is none."""
        answer: Object = self.request(call, "GET", path, query)
        return answer

    def request(
        self,
        call: Call,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """What the API server answers: JSON as Python values, other content as text.

        A server that is away or overloaded is asked again for a while, which is safe because all our requests may be repeated.

        Raises:
            ApiError: it refused.
            UnreachableError: it does not answer.
            StoppedWaitingError: the engine asked to stop.
        """
        since, known = self._unreachable
        if known and time.monotonic() - since < _FIRST_CONTACT_SECONDS:
            raise UnreachableError(known)
        patience = AWAY_SECONDS if self._reached else _FIRST_CONTACT_SECONDS
        start, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            trouble, code = self._try(method, path, query or {}, body, content_type)
            if trouble is None:
                self._reached = True
                return code
            spent = time.monotonic() - start
            if spent + pause > patience:
                self._give_up(trouble)
            call.progress(f"waiting for the API server ({int(spent)} s): {trouble}")
            if call.cancelled.wait(pause):
                raise StoppedWaitingError("interrupted")
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _give_up(self, trouble: str) -> None:
        api, _, context = self._connected()
        text = f"the API server {api.configuration.host} (context {context}) cannot be reached: {trouble}"
        if not self._reached:
            # Every other resource of this run would wait as long, only to learn the same.
            self._unreachable = (time.monotonic(), text)
        raise UnreachableError(text)

    def _try(self, method: str, path: str, query: Mapping[str, str], body: Object | None, content_type: str) -> tuple[str | None, Any]:
        """(None, answer), or (why to ask again, None)."""
        import urllib3

        api, _, _ = self._connected()
        headers = {"Accept": "application/json", "User-Agent": "isthmus-fallback-pulumi-kubernetes"}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        with self._lock:  # a credential plugin runs once, not once a thread
            api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = api.rest_client.pool_manager.request(
                method, url, body=data, headers=headers, retries=False, timeout=urllib3.Timeout(connect=5, read=_TIMEOUT_SECONDS)
            )
        except urllib3.exceptions.SSLError as error:
            if isinstance(error.args[0] if error.args else None, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return _in_words(error), None  # it, or a proxy before it, closed the connection: it is going or coming
            raise UnreachableError(f"the API server {api.configuration.host} is not trusted: {error}") from None
        except urllib3.exceptions.HTTPError as error:
            return _in_words(error), None
        return _answer(response.status, response.headers.get("Content-Type", ""), response.data)


def _in_words(error: Exception) -> str:
    inner = getattr(error, "reason", None) or getattr(error, "__cause__", None)
    text = str(inner or error)
    return text.rpartition(": ")[2] if "object at 0x" in text else text


def _answer(code: int, content_type: str, data: bytes) -> tuple[str | None, Any]:
    content: Any = data.decode(errors="replace")
    if "json" in content_type:
        try:
            content = json.loads(data)
        except ValueError:
            return "an answer was cut off", None
    if code < 400:
        return None, content
    status = content if isinstance(content, dict) else {"message": str(content)[:500] or None}
    if code in _TRY_LATER or status.get("reason") in ("ServerTimeout", "Timeout"):
        return str(status.get("message") or f"status {code}"), None
    raise ApiError(code, status)
