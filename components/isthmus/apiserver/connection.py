"""Requests to one API server, each sent once: who asks, over which connections, and what goes wrong in words.

They go over the official client's pool, but not through its generated methods, which cannot pass a query or a body to a Pod's
proxy. Objects are plain dicts, as the API has them.
"""

import functools
import json
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from isthmus.apiserver.errors import ApiError, ConflictError, UnreachableApiError, UnreachablePodError
from isthmus.apiserver.kubeconfig import Access, Session, session
from isthmus.errors import PlatformError, cause

if TYPE_CHECKING:
    import urllib3

Object = dict[str, Any]

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 120.0
"""After so long without a line a log is asked for anew: a connection that died without a word cannot be told from one that is quiet."""
_BLOCK_BYTES: Final = 1 << 16
_SHOWN_CHARACTERS: Final = 500
# Credentials that are refused are renewed, unless they are this new: then they are wrong ones.
_FRESH_SECONDS: Final = 10.0
# Those that cannot be renewed now may still hold; then it is tried again so much later.
_RENEW_AGAIN_SECONDS: Final = 10.0
_FIXES: Final = {401: ". Fix: renew the credentials in the kubeconfig", 403: ". Fix: ask for a role that allows it"}


@dataclass(frozen=True)
class Reply:
    """What a Pod answered. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_seconds: float = ANSWER_SECONDS

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Connection:
    """One API server. Safe in threads; reads the kubeconfig at the first request, and raises PlatformError where it cannot be used."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()  # a program that gets credentials runs once, not once a thread
        self._current: Session | None = None

    def __str__(self) -> str:
        now = self._session()
        server = re.sub("//[^/@]*@", "//", now.server)
        return f"{server} (context {now.context})" if now.context else server

    @property
    def namespace(self) -> str:
        """Where objects go that name none."""
        return self._session().namespace

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        media: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """What the API server answers: JSON as Python values, or a text. Raises ApiError (ConflictError), UnreachableApiError."""
        sent = None if body is None else json.dumps(body).encode()
        request = _Request(method, path, query, sent, {"Content-Type": media, "Accept": accept})
        reply = self._ask(request)
        if reply.status >= 300:
            raise self._refusal(reply.status, reply.body, request)
        try:
            is_text = reply.headers.get("content-type", "").startswith("text/plain")
            return reply.body.decode(errors="replace") if is_text else json.loads(reply.body)
        except ValueError:
            raise self._away("its answer is not whole, or is no JSON") from None

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        """A text as it comes, line by line. Raises UnreachableApiError, also in the middle, and ApiError."""
        request, rest = _Request("GET", path, query, silence_seconds=SILENCE_SECONDS), b""
        with self._in_words(), closing(self._asked(request)) as reply:
            if reply.status >= 300:
                raise self._refusal(reply.status, reply.data, request)
            for block in reply.stream(_BLOCK_BYTES):
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def call_pod(
        self,
        namespace: str,
        pod: str,
        port: int,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        tls: bool = False,
    ) -> Reply:
        """GET, or POST of a JSON body, to a port of a Pod through the API server: what the Pod answers, whatever its status.

        Raises UnreachablePodError, UnreachableApiError, ApiError where the API server does not let this through.
        """
        target = f"{'https:' if tls else ''}{quote(pod)}:{port}/proxy/{quote(path.lstrip('/'), safe='/:')}"
        url = f"/api/v1/namespaces/{quote(namespace)}/pods/{target}"
        request = _Request("GET" if body is None else "POST", url, query, body, {"Content-Type": JSON, **(headers or {})})
        reply = self._ask(request)
        own = _status(reply.body) if reply.status >= 400 else None
        if own is not None and reply.status in _FIXES:
            raise self._refusal(reply.status, reply.body, request)
        if own is not None or (reply.status >= 500 and b"error trying to reach service" in reply.body):
            raise UnreachablePodError(f"the API server at {self} cannot reach Pod {namespace}/{pod}: {_said(reply.status, reply.body)}")
        return reply

    def _session(self, refused: Session | None = None) -> Session:
        with self._lock:
            now = self._current
            if now is None or now is refused:
                now = session(self._access)
            elif time.time() >= now.renew_at:
                try:
                    now = session(self._access)
                except PlatformError:
                    now = replace(now, renew_at=time.time() + _RENEW_AGAIN_SECONDS)
            self._current = now
            return now

    def _ask(self, request: _Request) -> Reply:
        with self._in_words(), closing(self._asked(request)) as reply:
            return Reply(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.data)

    def _asked(self, request: _Request) -> "urllib3.BaseHTTPResponse":
        """The reply, unread, after the credentials were renewed if they had to be."""
        used = self._session()
        reply = self._open(used, request)
        if reply.status == 401 and time.time() - used.since > _FRESH_SECONDS and _status(reply.data) is not None:
            reply = self._open(self._session(refused=used), request)
        return reply

    def _open(self, used: Session, request: _Request) -> "urllib3.BaseHTTPResponse":
        import urllib3

        url = used.server + request.path + (f"?{urlencode(request.query)}" if request.query else "")
        headers = {"Accept": JSON, "User-Agent": "isthmus", **request.headers, **used.headers}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=request.silence_seconds)
        reply: urllib3.BaseHTTPResponse = used.pool.request(
            request.method, url, body=request.body, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
        )
        return reply

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        import urllib3

        try:
            yield
        except urllib3.exceptions.SSLError as error:
            # A connection that is closed meanwhile is of a server, or of a proxy before it, that goes or comes.
            if isinstance(error.args[0] if error.args else None, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                raise self._away(cause(error)) from None
            fix = "the kubeconfig has to name the CA that signed its certificate, and a certificate of yours that it knows"
            message = f"no trusted connection to the Kubernetes API server at {self}: {cause(error)}. Fix: {fix}"
            raise UnreachableApiError(message, cause(error), passes=False) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(cause(error)) from None

    def _away(self, said: str) -> UnreachableApiError:
        context = self._session().context
        fix = f"see whether `kubectl{f' --context {context}' if context else ''} get --raw /readyz` gets an answer"
        return UnreachableApiError(f"the Kubernetes API server at {self} does not answer: {said}. Fix: {fix}", said)

    def _refusal(self, status: int, body: bytes, request: _Request) -> ApiError | UnreachableApiError:
        content, said = _status(body), _said(status, body)
        if content is None and status in (502, 503, 504):  # of a proxy before it
            return self._away(said)
        kind = ConflictError if status == 409 else ApiError
        return kind(f"the Kubernetes API server at {self} refuses {request}: {said}{_FIXES.get(status, '')}", status, said, content)


@functools.lru_cache(maxsize=16)
def _shared(access: Access, *_environment: str | None) -> Connection:
    return Connection(access)


def connection(access: Access) -> Connection:
    """The same for all that ask alike: reading a kubeconfig writes its keys to files, and may start a program that gets a token."""
    return _shared(access, os.environ.get("KUBECONFIG"), os.environ.get("HOME"))


def selected(labels: Mapping[str, str]) -> dict[str, str]:
    """The query for objects with these labels."""
    text = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {"labelSelector": text} if text else {}


def _status(body: bytes) -> Object | None:
    """The API server's own object of kind Status; None: another body."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.get("kind") == "Status" else None


def _said(status: int, body: bytes) -> str:
    content = _status(body)
    text = str(content.get("message") or "") if content else body.decode(errors="replace").strip()[:_SHOWN_CHARACTERS]
    return text if text and not text.startswith("<") else f"HTTP {status}"
