"""What the plugin does with an object of any kind."""

import threading
from collections.abc import Callable
from typing import Final

from toolchain.kubernetes_plugin import objects
from toolchain.kubernetes_plugin.applying import Applier, field_manager
from toolchain.kubernetes_plugin.changes import changes, deletes_before_replace
from toolchain.kubernetes_plugin.client import Client
from toolchain.kubernetes_plugin.discovery import Discovery, UnknownKindError
from toolchain.kubernetes_plugin.objects import (
    annotation,
    from_object,
    id_of,
    name_of,
    namespace_of,
    parse_id,
    state_of,
    with_metadata,
)
from toolchain.kubernetes_plugin.readiness import readiness
from toolchain.kubernetes_plugin.settings import Settings
from toolchain.kubernetes_plugin.waiting import NotReadyError, Surroundings, timeout_seconds, until_gone, until_ready

from isthmus.apiserver.connection import Object
from isthmus.apiserver.errors import ApiError, UnreachableApiError
from isthmus.errors import PlatformError, Problem
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found, HalfMadeError
from isthmus.plugin.bags.names import automatic_name
from isthmus.plugin.diffs import Change
from isthmus.plugin.values import UNKNOWN

_LONGEST_NAME: Final = 253
_NOT_COVERED: Final = ("pulumi.com/waitFor", "pulumi.com/replaceUnready")
_PROPAGATION: Final = {"orphan": "Orphan", "background": "Background"}
# For objects whose namespace or kind another resource of the same update is about to make.
_MISSING_ATTEMPTS: Final = 5
_MISSING_PAUSE_SECONDS: Final = 0.5
# Set by the server or by controllers, of no use in a program that adopts an object.
_NOT_INPUTS: Final = ("status",)
_NOT_INPUTS_OF_METADATA: Final = (
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
    "selfLink",
)
_NOT_INPUT_ANNOTATIONS: Final = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")


class ObjectHandler:
    """All kinds of objects of one API server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = Client(settings.access)
        self._discovery = Discovery(self._client)
        self._applier = Applier(self._client, self._discovery)
        # Objects that a create of this run took over (`upsertExistingObjects`): they are not to be deleted as somebody's old one.
        self._taken_over: set[str] = set()
        self._lock = threading.Lock()

    # What the program asks for.

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        values, problems = inputs.values, []
        api_version, kind = type_of(call.token)
        for name, expected in (("apiVersion", api_version), ("kind", kind)):
            given = values.setdefault(name, expected)
            if given is not UNKNOWN and given != expected:
                problems.append(Problem(name, f"is {given!r}", f"{expected!r}, as the type {call.token} says"))
        meta = values.setdefault("metadata", {})
        if meta is UNKNOWN:
            return Checked(inputs, problems)
        if not isinstance(meta, dict):
            return Checked(inputs, [*problems, Problem("metadata", "is no object", "an object")])
        if meta.get("generateName"):
            problems.append(Problem("metadata.generateName", "is not supported with server-side apply"))
        for unsupported in _NOT_COVERED:
            if annotation(values, unsupported):
                problems.append(Problem(f'metadata.annotations["{unsupported}"]', "the fall-back kubernetes plugin does not cover it"))
        if not meta.get("name"):
            if not call.names_allowed:
                problems.append(Problem("metadata.name", "is missing, and the project disables automatic names"))
            else:
                values = self._named(call, old_inputs.values, values)
        if self._settings.known and not problems:
            values = self._with_namespace(call, values)
        return Checked(Bag(values, objects.secret_paths(values, inputs.secrets)), problems)

    def _named(self, call: Call, old: Object, new: Object) -> Object:
        adopted = name_of(old) if annotation(old, objects.AUTONAMED) == "true" else ""
        annotations = new["metadata"].get("annotations")
        marked = {**(annotations or {}), objects.AUTONAMED: "true"} if annotations is not UNKNOWN else UNKNOWN
        return with_metadata(new, name=adopted or automatic_name(call, _LONGEST_NAME), annotations=marked)

    def _with_namespace(self, call: Call, values: Object) -> Object:
        if values["metadata"].get("namespace"):
            return values
        try:
            namespaced = self._applier.kind(call, values).namespaced
        except UnknownKindError:
            namespaced = True  # a custom resource, most likely; `apply` takes it out again where that turns out wrong
        return with_metadata(values, namespace=self._client.default_namespace) if namespaced else values

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        old, new = old_inputs.values, inputs.values
        if not namespace_of(state.values):
            # Not in a namespace, whatever the program says.
            old, new = ({**values, "metadata": {**objects.metadata(values), "namespace": None}} for values in (old, new))
        found = changes(old, new, self._settings)
        autonamed = annotation(new, objects.AUTONAMED) == "true"
        return Difference(found, deletes_before_replace(state.values, new, autonamed=autonamed) and _replaces(found))

    # What is done.

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        if not inputs.known or not self._settings.known:
            return inputs
        manager = field_manager(call, inputs.values, state.values if state else {})
        try:
            path = self._applier.path(call, inputs.values)
            if state is None and self._applier.read(call, path) is not None:
                return inputs  # about to be replaced, or an error that the update itself reports
            live = self._applier.apply(call, path, inputs.values, manager, dry=True, force=state is None or self._settings.patch_force)
        except ApiError as error:
            # The namespace or the kind comes with this update; or the user may not ask for dry runs.
            if error.status in (403, 404):
                return inputs
            raise
        if state is None:
            live = objects.foreseen(live, inputs.values)
        return state_of(inputs, live, {**(state.values if state else {}), "__fieldManager": manager})

    def create(self, call: Call, inputs: Bag) -> Created:
        call.secrets = objects.secrets_of(inputs)
        manager = field_manager(call, inputs.values, {})
        live = self._patiently(call, lambda: self._create(call, inputs.values, manager))
        return Created(id_of(live), self._finish(call, inputs, live, {"__fieldManager": manager}))

    def _create(self, call: Call, inputs: Object, manager: str) -> Object:
        path = self._applier.path(call, inputs)
        existing = self._applier.read(call, path)
        if existing is not None and not self._settings.upsert:
            name = f"{inputs['kind']} {id_of(existing)}"
            raise PlatformError(
                f"{name} already exists. Fix: import it (`pulumi import`), delete it, choose another metadata.name, or set the provider's "
                "upsertExistingObjects to take it over"
            )
        live = self._applier.apply(call, path, inputs, manager, force=self._settings.patch_force)
        if existing is not None:
            with self._lock:
                self._taken_over.add(live["metadata"]["uid"])
        return live

    def _patiently(self, call: Call, work: Callable[[], Object]) -> Object:
        """Tries again for some seconds where the namespace or the kind is not there yet."""
        pause = _MISSING_PAUSE_SECONDS
        for _ in range(_MISSING_ATTEMPTS):
            try:
                return work()
            except ApiError as error:
                if error.status != 404:
                    raise
                call.progress(f"trying again: {error}")
                call.pause(pause)
                pause *= 2
        return work()

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        call.secrets = _secrets(state, old_inputs)
        api_version, kind = type_of(call.token)
        namespace, name = parse_id(id)
        wanted: Object = {"apiVersion": str(old_inputs.values.get("apiVersion", api_version)), "kind": kind}
        try:
            live = self._applier.read(call, self._applier.path(call, wanted, namespace, name))
        except UnknownKindError:
            return None
        except UnreachableApiError:
            if self._settings.delete_unreachable:
                return None
            raise
        if live is None:
            return None
        imported = not old_inputs.values
        values = from_object(_importable(live)) if imported else objects.as_inputs(live, old_inputs.values)
        secrets = old_inputs.secrets if values == old_inputs.values else objects.with_whole_lists(old_inputs.secrets)
        inputs = Bag(values, objects.secret_paths(values, secrets))
        manager = field_manager(call, old_inputs.values, state.values)
        found = state_of(inputs, live, {**state.values, "__fieldManager": manager})
        skipped = imported or annotation(inputs.values, objects.SKIP_AWAIT) == "true"
        return Found(id_of(live), inputs, found, () if skipped else self._unready(call, live))

    def _unready(self, call: Call, live: Object) -> list[str]:
        found = readiness(live, Surroundings(self._client, self._discovery, call, namespace_of(live)))
        if found.done or found.settles:
            return []
        return [f"{live['kind']} {id_of(live)} is not ready: {found.progress}", *found.explain()]

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        call.secrets = _secrets(state, inputs)
        manager = field_manager(call, inputs.values, state.values)
        path = self._applier.path(call, inputs.values)
        live = self._applier.apply(call, path, inputs.values, manager, force=self._settings.patch_force)
        return self._finish(call, inputs, live, {**state.values, "__fieldManager": manager})

    def _finish(self, call: Call, inputs: Bag, live: Object, state: Object) -> Bag:
        """Waits until what was applied works; the new state then. Raises HalfMadeError."""
        if inputs.values["kind"] == "CustomResourceDefinition":
            self._discovery.forget()
        path = self._applier.path(call, live)
        try:
            if annotation(inputs.values, objects.SKIP_AWAIT) != "true":
                look = Surroundings(self._client, self._discovery, call, namespace_of(live))
                timeout = timeout_seconds(call, inputs.values)
                live = until_ready(call, look, live, lambda: self._client.get(call, path), timeout)
        except NotReadyError as error:
            raise HalfMadeError(error.reasons, state_of(inputs, error.live, state), inputs, id_of(live)) from None
        return state_of(inputs, live, state)

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        call.secrets = _secrets(state, old_inputs)
        uid = str(objects.metadata(state.values).get("uid", ""))
        with self._lock:
            if uid in self._taken_over:
                return
        namespace, name = parse_id(id)
        wanted: Object = {key: state.values[key] for key in ("apiVersion", "kind")}
        policy = _PROPAGATION.get(annotation(old_inputs.values, objects.DELETION).lower(), "Foreground")
        try:
            path = self._applier.path(call, wanted, namespace, name)
            self._applier.delete(call, path, policy)
            if annotation(old_inputs.values, objects.SKIP_AWAIT) != "true":
                timeout = timeout_seconds(call, old_inputs.values)
                until_gone(call, f"{wanted['kind']} {id}", uid, lambda: self._client.get(call, path), timeout)
        except UnknownKindError:
            return  # without its definition there is no object
        except UnreachableApiError:
            if not self._settings.delete_unreachable:
                raise
        finally:
            if wanted["kind"] == "CustomResourceDefinition":
                self._discovery.forget()


def type_of(token: str) -> tuple[str, str]:
    """apiVersion and kind of a type token: `kubernetes:apps/v1:Deployment`; the group of `core/v1` has no name."""
    _, api_version, kind = token.split(":")
    return api_version.removeprefix("core/"), kind


def _secrets(state: Bag, inputs: Bag) -> frozenset[str]:
    # Not all that the state marks: whole lists are secret there, with the names that a message needs.
    live = state if state.values.get("kind") == "Secret" else Bag()
    return objects.secrets_of(live, state.nested("__inputs"), inputs)


def _replaces(found: list[Change]) -> bool:
    return any(change.replaces for change in found)


def _importable(live: Object) -> Object:
    """The live object as inputs for a program that adopts it."""
    meta = {key: value for key, value in live["metadata"].items() if key not in objects.READ_ONLY}
    annotations = {key: value for key, value in meta.pop("annotations", {}).items() if key not in _NOT_INPUT_ANNOTATIONS}
    if annotations:
        meta["annotations"] = annotations
    return {**{key: value for key, value in live.items() if key not in _NOT_INPUTS}, "metadata": meta}
