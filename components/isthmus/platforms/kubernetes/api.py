"""The API server, as the commands use it: asked once and at once, logs as they come, and Pods through its proxy."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from isthmus.errors import PlatformError
from isthmus.observing.reach import CONNECT_SECONDS, NoWayError, Reply, cause, encoded
from isthmus.provider.clusters.client import Access, ApiError, Object, UnreachableApiError, api_client

_ANSWER_SECONDS = 30
_SILENCE_SECONDS = 120
"""After so long without a line a log is asked for anew: a connection that died without a word cannot be told from one that is quiet."""
_BLOCK_BYTES = 1 << 16


class Api:
    """One API server. Raises PlatformError where the kubeconfig cannot be used."""

    def __init__(self, access: Access) -> None:
        try:
            self._client = api_client(access)
            self.context = access.context or _current_context(access)
        except PlatformError as error:
            fix = "set KUBECONFIG to the kubeconfig of the stack's cluster; `kubectl config get-contexts` lists what is in it"
            raise PlatformError(f"{error}. Fix: {fix}") from None
        self.server = str(self._client.configuration.host)

    def __str__(self) -> str:
        return f"{self.server} (context {self.context})" if self.context else self.server

    def get(self, path: str, **query: str) -> Object:
        """Raises UnreachableApiError, ApiError."""
        found: Object = json.loads(self._read(self._open("GET", path, query)))
        return found

    def items(self, group: str, namespace: str, plural: str, labels: Mapping[str, str]) -> list[Object]:
        """The objects of a kind with these labels, by name. group: such as `api/v1`. Raises UnreachableApiError, ApiError."""
        chosen = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        found: list[Object] = self.get(f"/{group}/namespaces/{quote(namespace)}/{plural}", labelSelector=chosen)["items"]
        return sorted(found, key=lambda item: str(item["metadata"]["name"]))

    def lines(self, path: str, **query: str) -> Iterator[str]:
        """A text as it comes, line by line. Raises UnreachableApiError, also in the middle, and ApiError."""
        rest = b""
        with self._open("GET", path, query, silence_seconds=_SILENCE_SECONDS) as reply:
            try:
                for block in reply.stream(_BLOCK_BYTES):
                    *whole, rest = (rest + block).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._away(error) from None
        if rest:
            yield rest.decode(errors="replace")

    def call_pod(self, namespace: str, pod: str, port: int, path: str, *, body: Any, headers: Mapping[str, str], tls: bool) -> Reply:
        """GET, or POST of a JSON body, to a port of a Pod. Raises NoWayError where the API server cannot reach the Pod; ApiError,
        UnreachableApiError."""
        url = f"/api/v1/namespaces/{quote(namespace)}/pods/{'https:' if tls else ''}{quote(pod)}:{port}/proxy/{quote(path, safe='/:')}"
        reply = self._open("GET" if body is None else "POST", url, body=body, headers=headers, proxied=True)
        found = Reply(reply.status, {name.lower(): value for name, value in reply.headers.items()}, self._read(reply))
        own = _status_message(found.body)
        if found.status >= 400 and own is not None:
            if found.status in (401, 403):
                raise self._refusal(found.status, found.body, url)
            raise NoWayError(f"the API server at {self} cannot reach Pod {namespace}/{pod}: {own}")
        return found

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float = _ANSWER_SECONDS,
        proxied: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """The reply, unread. proxied: a reply with an error status may be somebody else's, and is handed out."""
        configuration = self._client.configuration
        sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        sent |= {setting["key"]: setting["value"] for setting in configuration.auth_settings().values() if setting["value"]}
        url = self.server.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        try:
            reply: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else encoded(body),
                headers=sent,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=silence_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(error) from None
        if reply.status >= 300 and not proxied:
            raise self._refusal(reply.status, self._read(reply), path)
        return reply

    def _read(self, reply: urllib3.BaseHTTPResponse) -> bytes:
        try:
            with reply:
                return reply.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(error) from None

    def _away(self, error: BaseException) -> UnreachableApiError:
        fix = f"see whether `kubectl{f' --context {self.context}' if self.context else ''} get --raw /readyz` gets an answer"
        return UnreachableApiError(f"the Kubernetes API server at {self} does not answer: {cause(error)}. Fix: {fix}")

    def _refusal(self, status: int, body: bytes, path: str) -> ApiError:
        message = f"the Kubernetes API server at {self} refuses {path}: {_status_message(body) or f'HTTP {status}'}"
        fix = {401: ". Fix: renew the credentials in the kubeconfig", 403: ". Fix: ask for a role that allows it"}.get(status, "")
        return ApiError(status, message + fix)


def _status_message(body: bytes) -> str | None:
    """Of the API server's own objects of kind Status; None for any other body."""
    try:
        content = json.loads(body)
        return str(content["message"]) if content.get("kind") == "Status" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode(errors="replace").strip() if b"error trying to reach service" in body else None


def _current_context(access: Access) -> str:
    content = access.content()
    if content is not None:
        return str(content.get("current-context") or "")
    from kubernetes import config

    contexts: Any = config.list_kube_config_contexts
    return str((contexts()[1] or {}).get("name", ""))
