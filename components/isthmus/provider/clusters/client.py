"""The few calls to a Kubernetes API server that the traffic resources need.

The official client reads the kubeconfig and does TLS and credentials, its plugins (`exec`) included; requests are made here, over
its connection pool, since its generated methods cannot pass a query or a body to a Pod's proxy. Objects are plain dicts, as the
API has them.
"""

import copy
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context

Object = dict[str, Any]

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 15.0
AWAY_SECONDS: Final = 90.0
"""How long an API server may be away (an upgrade, a new leader) before a call to it fails."""
BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


class UnreachableApiError(PlatformError):
    """The API server does not answer."""


class ApiError(PlatformError):
    """The API server refuses a request. status: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConflictError(ApiError):
    """Somebody else changed the object since it was read, or made it first."""


@dataclass(frozen=True)
class Access:
    """kubeconfig: its content or its path; empty: what kubectl would use. context: of it; empty: its current one."""

    kubeconfig: str = ""
    context: str = ""

    def content(self) -> Mapping[str, Any] | None:
        """The kubeconfig that is given; None: kubectl's. Raises PlatformError, without the content."""
        import yaml

        text = self.kubeconfig
        if not text.strip():
            return None
        try:
            if "\n" not in text and not text.lstrip().startswith("{"):
                text = Path(text).expanduser().read_text(encoding="utf-8")
            content = yaml.safe_load(text)
        except (OSError, yaml.YAMLError):
            raise PlatformError("kubeconfig is neither the content of a kubeconfig nor the path of one that can be read") from None
        if not isinstance(content, dict) or "clusters" not in content:
            raise PlatformError("kubeconfig is not the content of a kubeconfig: it has no clusters")
        return content

    def server(self) -> str:
        """The API server's URL, which tells clusters apart; empty where kubectl's own settings say it."""
        content = self.content()
        if content is None:
            return ""
        wanted = self.context or content.get("current-context")
        contexts = {item["name"]: item.get("context", {}) for item in content.get("contexts") or ()}
        clusters = {item["name"]: item.get("cluster", {}) for item in content["clusters"]}
        return str(clusters.get(contexts.get(wanted, {}).get("cluster"), {}).get("server", ""))


@dataclass(frozen=True)
class Reply:
    """What a Pod answered through the API server's proxy."""

    status: int
    body: bytes


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Pod:
    """ready: takes traffic. ending: is being deleted."""

    name: str
    uid: str
    ready: bool
    ending: bool


class Cluster:
    """One API server, for the time of one call of a handler: every wait is the context's."""

    def __init__(self, access: Access, context: Context, patience_seconds: float = AWAY_SECONDS) -> None:
        self._context = context
        self._client = api_client(access)
        self._patience_seconds = patience_seconds

    def within(self, context: Context) -> "Cluster":
        """The same API server, under another context."""
        other = copy.copy(self)
        other._context = context
        return other

    def get(self, path: str) -> Object | None:
        """An object; None where there is none."""
        return self._or_none("GET", path)

    def metadata(self, path: str) -> Object | None:
        """An object's `metadata` alone, so that no content of a Secret comes here; None where there is none."""
        found = self._or_none("GET", path, headers={"Accept": _METADATA})
        return None if found is None else dict(found["metadata"])

    def items(self, path: str, selector: Mapping[str, str] | None = None, *, metadata_only: bool = False) -> list[Object]:
        """The objects of a kind with these labels. metadata_only: without their content, where the server can."""
        labels = ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items()))
        query = {"labelSelector": labels} if labels else {}
        headers = {"Accept": _METADATA_LIST} if metadata_only else {}
        # Where there are none, some servers say null.
        found: list[Object] | None = self._api("GET", path, query=query, headers=headers)["items"]
        return found or []

    def patch(self, path: str, body: Object) -> Object | None:
        """Merges the body into an object; None where there is none."""
        return self._or_none("PATCH", path, body, media="application/merge-patch+json")

    def apply(self, path: str, body: Object, manager: str, *, force: bool = False) -> Object:
        """Server-side apply as this field manager. Raises ConflictError where somebody else has set a field to something else, unless
        forced."""
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return self._api("PATCH", path, body, query, media="application/apply-patch+yaml")

    def delete(self, path: str, uid: str = "") -> None:
        """What is gone already is no error, nor is another object by that name. uid: of the one that is meant."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            self._api("DELETE", path, body)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    def _or_none(self, method: str, path: str, body: Object | None = None, **more: Any) -> Object | None:
        try:
            return self._api(method, path, body, **more)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def pods(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """The Pods with these labels, by name."""
        items = self.items(f"/api/v1/namespaces/{quote(namespace)}/pods", selector)
        return sorted((_pod(item) for item in items), key=lambda pod: pod.name)

    def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Sets annotations; a Pod that is gone is no error."""
        self.patch(f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}", {"metadata": {"annotations": dict(annotations)}})

    def config_map(self, namespace: str, name: str) -> Object | None:
        return self.get(_config_map_path(namespace, name))

    def create_config_map(self, namespace: str, content: Object) -> Object:
        """Raises ConflictError where there is one of that name."""
        return self._api("POST", _config_map_path(namespace), content)

    def replace_config_map(self, namespace: str, content: Object) -> Object:
        """Raises ConflictError unless it is still the version that `content` was made from (its `metadata.resourceVersion`)."""
        return self._api("PUT", _config_map_path(namespace, content["metadata"]["name"]), content)

    def delete_config_map(self, namespace: str, name: str) -> None:
        """What is gone already is no error."""
        self.delete(_config_map_path(namespace, name))

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
    ) -> Reply | None:
        """GET, or POST of a JSON body, to a port of a Pod. None where the Pod does not answer; asked once."""
        target = f"{'https:' if tls else ''}{quote(pod)}:{port}"
        url = f"/api/v1/namespaces/{quote(namespace)}/pods/{target}/proxy/{quote(path.lstrip('/'), safe='/:')}"
        request = _Request("GET" if body is None else "POST", url, query or {}, body, headers=headers or {})
        try:
            reply = self._send(request)
        except UnreachableApiError:
            return None
        return None if _is_api_status(reply) else reply

    def _api(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        *,
        media: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """One request to the API itself, tried again while the server is away or overloaded.

        A request whose answer was lost may have been done: writes carry a resourceVersion or a fixed name, so that doing them
        again ends in a ConflictError, never in a second change.
        """
        request = _Request(method, path, query or {}, None if body is None else json.dumps(body).encode(), media, headers or {})
        start, attempt = time.monotonic(), 0
        while True:
            try:
                reply = self._send(request)
                if reply.status not in _AGAIN:
                    return _object(reply, str(request))
                problem: Exception = _refusal(reply, str(request))
            except UnreachableApiError as error:
                problem = error
            if time.monotonic() - start > self._patience_seconds:
                raise problem
            pause = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
            attempt += 1
            if attempt > 2:
                self._context.progress(f"the API server does not answer ({time.monotonic() - start:.0f} s)")
            self._context.pause(pause)

    def _send(self, request: _Request) -> Reply:
        """Sent once. Raises UnreachableApiError."""
        import urllib3

        configuration = self._client.configuration
        headers = {"Accept": "application/json", **({} if request.body is None else {"Content-Type": request.media}), **request.headers}
        headers |= {setting["key"]: setting["value"] for setting in configuration.auth_settings().values() if setting["value"]}
        url = configuration.host.rstrip("/") + request.path + (f"?{urlencode(request.query)}" if request.query else "")
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
        try:
            reply = self._client.rest_client.pool_manager.request(
                request.method, url, body=request.body, headers=headers, timeout=timeout, retries=False, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableApiError(f"the Kubernetes API server at {configuration.host} does not answer: {_cause(error)}") from None
        return Reply(reply.status, reply.data)


# Reading a kubeconfig writes its keys to files and may start a program that gets a token: once for each is enough.
@functools.lru_cache(maxsize=16)
def api_client(access: Access) -> Any:
    """The official client for a cluster. Raises PlatformError where the kubeconfig cannot be used."""
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    content = access.content()
    configuration = client.Configuration()
    try:
        if content is not None:
            load: Any = config.load_kube_config_from_dict
            load(dict(content), access.context or None, configuration, persist_config=False)
        else:
            load = config.load_kube_config
            load(context=access.context or None, client_configuration=configuration, persist_config=False)
    except ConfigException as error:
        raise PlatformError(f"the kubeconfig cannot be used: {error}") from None
    return client.ApiClient(configuration)


def _config_map_path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps" + (f"/{quote(name)}" if name else "")


def _pod(item: Object) -> Pod:
    status, metadata = item.get("status", {}), item["metadata"]
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    return Pod(metadata["name"], metadata["uid"], conditions.get("Ready") == "True", "deletionTimestamp" in metadata)


def _object(reply: Reply, what: str) -> Object:
    if reply.status >= 300:
        raise _refusal(reply, what)
    found: Object = json.loads(reply.body)
    return found


def _refusal(reply: Reply, what: str) -> ApiError:
    try:
        message = str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {reply.status}"
    kind = ConflictError if reply.status == 409 else ApiError
    return kind(reply.status, f"the Kubernetes API server refuses {what}: {message}")


def _is_api_status(reply: Reply) -> bool:
    """Whether the reply is the API server's own, about a Pod that it could not reach."""
    if reply.status < 400 or not reply.body.lstrip().startswith(b"{"):
        return reply.status in {502, 503, 504} and b"error trying to reach service" in reply.body
    try:
        return bool(json.loads(reply.body).get("kind") == "Status")
    except (ValueError, AttributeError):
        return False


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__
