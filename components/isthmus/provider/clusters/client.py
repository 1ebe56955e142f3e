"""What the handlers ask of a Kubernetes cluster, again and again while its API server is away: every wait is their call's."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from isthmus.apiserver.connection import APPLY_PATCH, JSON, MERGE_PATCH, Object, Reply, connection, selected
from isthmus.apiserver.errors import ApiError, UnreachableApiError, UnreachablePodError
from isthmus.apiserver.kubeconfig import Access
from isthmus.apiserver.retrying import AWAY_SECONDS, patiently
from isthmus.plugin.handler import Context

_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


@dataclass(frozen=True)
class Pod:
    """ready: takes traffic. ending: is being deleted. ready_since: None: it is not, or nobody says since when."""

    name: str
    uid: str
    ready: bool
    ending: bool
    ready_since: datetime | None = None


class Cluster:
    """One API server, for the time of one call of a handler."""

    def __init__(self, access: Access, context: Context, patience_seconds: float = AWAY_SECONDS) -> None:
        self._context = context
        self._connection = connection(access)
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
        found = self._or_none("GET", path, accept=_METADATA)
        return None if found is None else dict(found["metadata"])

    def items(self, path: str, selector: Mapping[str, str] | None = None, *, metadata_only: bool = False) -> list[Object]:
        """The objects of a kind with these labels. metadata_only: without their content, where the server can."""
        # Where there are none, some servers say null.
        accept = _METADATA_LIST if metadata_only else JSON
        found: list[Object] | None = self._api("GET", path, query=selected(selector or {}), accept=accept)["items"]
        return found or []

    def patch(self, path: str, body: Object) -> Object | None:
        """Merges the body into an object; None where there is none."""
        return self._or_none("PATCH", path, body, media=MERGE_PATCH)

    def apply(self, path: str, body: Object, manager: str, *, force: bool = False) -> Object:
        """Server-side apply as this field manager. Raises ConflictError where somebody else has set a field to something else, unless
        forced."""
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return self._api("PATCH", path, body, query=query, media=APPLY_PATCH)

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

    def call_pod(self, namespace: str, pod: str, port: int, path: str, **more: Any) -> Reply | None:
        """As `Connection.call_pod`: asked once. None where the Pod does not answer. Raises ApiError where that is not allowed."""
        try:
            return self._connection.call_pod(namespace, pod, port, path, **more)
        except (UnreachablePodError, UnreachableApiError):
            return None

    def _api(self, method: str, path: str, body: Object | None = None, **more: Any) -> Object:
        """One request to the API itself.

        A request whose answer was lost may have been done: writes carry a resourceVersion or a fixed name, so that doing them
        again ends in a ConflictError, never in a second change.
        """
        ask = partial(self._connection.send, method, path, body=body, **more)
        found: Object = patiently(ask, self._patience_seconds, self._context.progress, self._context.pause)
        return found


def _config_map_path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps" + (f"/{quote(name)}" if name else "")


def _pod(item: Object) -> Pod:
    status, metadata = item.get("status", {}), item["metadata"]
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    condition = conditions.get("Ready", {})
    ready, since = condition.get("status") == "True", condition.get("lastTransitionTime")
    ready_since = datetime.fromisoformat(since) if ready and since else None
    return Pod(metadata["name"], metadata["uid"], ready, "deletionTimestamp" in metadata, ready_since)
