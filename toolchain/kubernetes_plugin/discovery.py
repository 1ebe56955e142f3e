"""Where the objects of a kind live on the API server."""

import threading
from dataclasses import dataclass
from urllib.parse import quote

from toolchain.kubernetes_plugin.client import Client

from isthmus.apiserver.errors import ApiError
from isthmus.plugin.bags.handler import Call


@dataclass(frozen=True)
class Kind:
    """One kind of object. prefix: `/api/v1` or `/apis/GROUP/VERSION`."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of all in a namespace (empty namespace: in all of them)."""
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{self.prefix}{inside}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


class UnknownKindError(ApiError):
    """The API server does not know the kind (yet): a custom resource without its definition, mostly."""

    def __init__(self, api_version: str, kind: str) -> None:
        message = f"the cluster has no kind {kind} in {api_version}. Fix: create its CustomResourceDefinition first"
        super().__init__(message, 404, message)


class Discovery:
    """The kinds that the API server offers, asked for once for each group and version."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[str, Kind]] = {}

    def find(self, call: Call, api_version: str, kind: str) -> Kind:
        """Raises UnknownKindError; it is not remembered, so that a definition made in between is noticed."""
        found = self._kinds.get(api_version, {}).get(kind)
        if found is None:
            kinds = self._ask(call, api_version)
            with self._lock:
                self._kinds[api_version] = kinds
            found = kinds.get(kind)
        if found is None:
            raise UnknownKindError(api_version, kind)
        return found

    def forget(self) -> None:
        """To be called when a definition was created, changed or deleted."""
        with self._lock:
            self._kinds.clear()

    def _ask(self, call: Call, api_version: str) -> dict[str, Kind]:
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            listed = self._client.get(call, prefix)
        except ApiError as error:
            if error.status != 404:
                raise
            return {}
        resources = [item for item in listed.get("resources", ()) if "/" not in item["name"]]
        return {item["kind"]: Kind(prefix, item["name"], item["namespaced"]) for item in resources}
