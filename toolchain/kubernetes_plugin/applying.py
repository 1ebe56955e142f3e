"""Server-side apply: of one object, dry or for real, with conflicts in words."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from toolchain.kubernetes_plugin.client import Client
from toolchain.kubernetes_plugin.discovery import Discovery, Kind
from toolchain.kubernetes_plugin.objects import FIELD_MANAGER, PATCH_FORCE, annotation, name_of, namespace_of, to_object, with_metadata

from isthmus.apiserver.connection import APPLY_PATCH, Object
from isthmus.apiserver.errors import ApiError, ConflictError
from isthmus.errors import PlatformError
from isthmus.plugin.bags.handler import Call

_MANAGER: Final = re.compile(r'conflict with "([^"]+)"')
_FIX: Final = f'leave these fields to it, or take them over with the annotation {PATCH_FORCE}: "true"'


def field_manager(call: Call, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Who owns the fields that a program gives: the annotation, else what the state says, else a name for this resource alone.

    The name follows from the URN, so that a second try after an interrupted create speaks for the same owner.
    """
    digest = hashlib.sha256(call.urn.encode()).hexdigest()[:8]
    return annotation(inputs, FIELD_MANAGER) or str(state.get("__fieldManager") or f"pulumi-kubernetes-{digest}")


class Applier:
    """Finds, reads and applies objects."""

    def __init__(self, client: Client, discovery: Discovery) -> None:
        self._client = client
        self._discovery = discovery

    def kind(self, call: Call, values: Mapping[str, Any]) -> Kind:
        """Raises UnknownKindError."""
        return self._discovery.find(call, str(values["apiVersion"]), str(values["kind"]))

    def path(self, call: Call, values: Mapping[str, Any], namespace: str = "", name: str = "") -> str:
        """Where the object is; namespace and name stand in for those that it lacks."""
        kind = self.kind(call, values)
        inside = namespace_of(values) or namespace or self._client.default_namespace
        return kind.path(inside if kind.namespaced else "", name_of(values) or name)

    def read(self, call: Call, path: str) -> Object | None:
        """None: there is no such object."""
        try:
            return self._client.get(call, path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, call: Call, path: str, inputs: Object, manager: str, *, dry: bool = False, force: bool = False) -> Object:
        """The object as it is then, or would be.

        Raises:
            ApiError: the API server refused; with what is in conflict, where another owner holds the fields.
        """
        sent = to_object(inputs)
        if not self.kind(call, inputs).namespaced:
            sent = {**sent, "metadata": {key: value for key, value in sent["metadata"].items() if key != "namespace"}}
        elif not namespace_of(sent):
            sent = with_metadata(sent, namespace=self._client.default_namespace)
        query = {"fieldManager": manager, "fieldValidation": "Warn"}
        if dry:
            query["dryRun"] = "All"
        if force or annotation(inputs, PATCH_FORCE) == "true":
            query["force"] = "true"
        try:
            live: Object = self._client.request(call, "PATCH", path, query, body=sent, media=APPLY_PATCH)
        except ConflictError as error:
            raise PlatformError(_conflict(error)) from None
        return live

    def delete(self, call: Call, path: str, propagation: str) -> None:
        """What is gone already is no error."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        try:
            self._client.request(call, "DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:
                raise


def _conflict(error: ConflictError) -> str:
    fields: dict[str, list[str]] = {}
    for cause in error.causes:
        found = _MANAGER.search(str(cause.get("message", "")))
        fields.setdefault(found[1] if found else "another field manager", []).append(str(cause.get("field", "")))
    if not fields:
        return str(error)
    owners = "; ".join(f"{manager!r} owns {', '.join(names)}" for manager, names in sorted(fields.items()))
    return f"conflict over fields that somebody else set: {owners}. Fix: {_FIX}"
