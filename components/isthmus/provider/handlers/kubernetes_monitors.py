"""KubernetesMonitors: objects of kinds that a cluster need not know, made where it does."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from isthmus.apiserver.connection import Object
from isthmus.errors import Problem
from isthmus.names import MAKING_ANNOTATION
from isthmus.owner import OWNER_KEY, ForeignOwnerError, mark, shown
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.ownership import Ref, owner_of_object
from isthmus.provider.handlers.clusters import PLACE, cluster_changes, cluster_of, place_problems
from isthmus.provider.handlers.owners import OWNER, own_names, owner

_MANAGER: Final = "isthmus-monitors"


class KubernetesMonitorsHandler(HandlerBase):
    """The graph of a program does not depend on what a cluster knows: it names these objects, and here is found out.

    Where the cluster has been taught the kinds since, a refresh finds that the objects are missing, and the next update makes them.
    """

    spec = ResourceSpec(
        name="KubernetesMonitors",
        description="Objects of kinds that a cluster need not know (the Prometheus operator's), made where it does.",
        inputs={
            **PLACE,
            "owner": OWNER,
            "objects": Property("array", "the objects, as the API has them", items=Property("object", "an object")),
        },
        outputs={
            "made": Property("boolean", "whether the cluster knows all the kinds, so that all objects were made"),
            "intact": Property("boolean", "whether what should be there is there"),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return list(place_problems(inputs))

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = [*compare(self.spec, old_inputs, inputs), *cluster_changes(old_inputs, inputs)]
        if not changes and state.get("intact") is False:
            changes.append(Change(("intact",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"made": UNKNOWN, "intact": True}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(f"{inputs['namespace']}/{inputs['service']}", self._apply(inputs, {}, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._apply(inputs, state, context)

    def _apply(self, inputs: Values, state: Values, context: Context) -> Properties:
        cluster = cluster_of(inputs, context)
        wanted = _of_known_kinds(cluster, inputs["objects"])
        owners = own_names(inputs, context) | (own_names(state, context) if state else frozenset())
        paths = {_path(it, inputs): it for it in wanted}
        for path, it in paths.items():
            there = cluster.metadata(path)
            if there is not None and owner_of_object(there) not in owners:
                whose = shown(owner_of_object(there))
                what = f"{it['kind']} {inputs['namespace']}/{it['metadata']['name']} is there, and its owner is {whose}"
                raise ForeignOwnerError(f"{what}. Fix: rename the service, delete that object, or set `kubernetes.service_monitor: never`")
        for path, it in paths.items():
            cluster.apply(path, _marked(it, owner(inputs, context), context.making), _MANAGER, force=True)
        for path in {_path(it, state) for it in state.get("objects") or ()} - set(paths):
            _remove(cluster, path, owners, context.making)
        return {"made": len(wanted) == len(inputs["objects"]), "intact": True}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("KubernetesMonitors", "which objects a service has is its program's to say")
        cluster = cluster_of(inputs, context)
        wanted = _of_known_kinds(cluster, inputs["objects"])
        intact = all(_holds(cluster.get(_path(it, inputs)), it) for it in wanted)
        return Found(dict(inputs), {"made": len(wanted) == len(inputs["objects"]), "intact": intact})

    def delete(self, id: str, state: Values, context: Context) -> None:
        cluster = cluster_of(state, context)
        for it in state["objects"]:
            _remove(cluster, _path(it, state), own_names(state, context), context.making)


def _of_known_kinds(cluster: Cluster, objects: Sequence[Object]) -> list[Object]:
    """Those whose kinds the API server knows."""
    listed = {version: cluster.get(f"/apis/{version}") or {} for version in {it["apiVersion"] for it in objects}}
    kinds = {(version, it["kind"]) for version, found in listed.items() for it in found.get("resources") or ()}
    return [it for it in objects if (it["apiVersion"], it["kind"]) in kinds]


def _path(it: Object, place: Values) -> str:
    return Ref(it["apiVersion"], it["kind"], it["metadata"]["name"]).path(place["namespace"])


def _marked(it: Object, whose: str, making: str) -> Object:
    metadata = it["metadata"]
    annotations = {**(metadata.get("annotations") or {}), OWNER_KEY: whose, **({MAKING_ANNOTATION: making} if making else {})}
    labels = {**(metadata.get("labels") or {}), OWNER_KEY: mark(whose)}
    return {**it, "metadata": {**metadata, "annotations": annotations, "labels": labels}}


def _remove(cluster: Cluster, path: str, owners: frozenset[str], making: str) -> None:
    """Of this making alone: where the resource was replaced, the new one's objects have the same names."""
    there = cluster.metadata(path)
    if there is None or owner_of_object(there) not in owners:
        return
    if making and (there.get("annotations") or {}).get(MAKING_ANNOTATION, making) != making:
        return
    cluster.delete(path, str(there["uid"]))


def _holds(there: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; an API server adds defaults of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(_holds(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(_holds, there, wanted))
    return bool(there == wanted)
