"""KubernetesClaim: the objects that a service will have are its stack's own, before the first of them is made."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from isthmus.errors import InputError, IsthmusError, PlatformError, Problem
from isthmus.names import MAKING_ANNOTATION
from isthmus.owner import UNMARKED
from isthmus.owner import mark as digest_mark
from isthmus.plugin.claims import Claims
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties, is_known
from isthmus.provider.clusters import ownership
from isthmus.provider.clusters.capacity import hand_over_replicas
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.ownership import Claim, Ref
from isthmus.provider.handlers.clusters import PATIENCE_AT_PREVIEW_SECONDS, PLACE, cluster_changes, cluster_of, place_problems, server_of
from isthmus.provider.handlers.owners import OWNER, own_names, owner

_GONE_SECONDS: Final = 300.0
_MOST_NAMED: Final = 3


class KubernetesClaimHandler(HandlerBase):
    """It looks at preview as well, so that nothing is even planned on what is somebody else's; and again before anything is made.

    A Kubernetes plugin with server-side apply takes over whatever has the right name. So this comes before all objects of a service,
    and goes after them; then it removes the namespace, where the stack made it and nothing of others is in it.
    """

    spec = ResourceSpec(
        name="KubernetesClaim",
        description="The objects and the namespace of a service, kept apart from those of other stacks. Nothing of others is touched.",
        inputs={
            **PLACE,
            "owner": OWNER,
            "create_namespace": Property("boolean", "whether the namespace is the service's own, and goes with it", default=False),
            "take_over_from": Property(
                "string", f"whose objects may become this stack's; {UNMARKED}: those without an owner", required=False
            ),
            "objects": Property(
                "array",
                "what the service will have",
                items=Property(
                    "object",
                    "an object",
                    fields={
                        "api_version": Property("string", "its API version"),
                        "kind": Property("string", "its kind"),
                        "name": Property("string", "its name"),
                    },
                ),
            ),
            "autoscaled": Property(
                "array", "the Deployments whose replicas an autoscaler sets", default=[], items=Property("string", "its name")
            ),
        },
    )

    def __init__(self) -> None:
        self._claims = Claims()

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = list(place_problems(inputs))
        if found or not is_known([inputs.get(name) for name in self.spec.inputs]):
            return found
        if found := self._claimed(inputs, context):
            return found
        try:
            cluster = cluster_of(inputs, context, PATIENCE_AT_PREVIEW_SECONDS)
            claim = _claim(inputs, old_inputs, context)
            return ownership.problems(claim, ownership.look(cluster, claim))
        except IsthmusError:  # a cluster that does not answer now; `up` asks again
            return ()

    def _claimed(self, inputs: Values, context: Context) -> list[Problem]:
        """Objects that another service of this update will have as well: none of them is there yet, so that the cluster cannot tell."""
        place = (server_of(inputs), inputs["namespace"])
        taken = self._claims.taken(context.urn, [(*place, it["api_version"], it["kind"], it["name"]) for it in inputs["objects"]])
        by_other: dict[str, list[str]] = {}
        for (*_, kind, name), other in taken.items():
            by_other.setdefault(other, []).append(f"{kind} {name}")
        expected, fix = "names of its own for each service", "give one of the two services another name, namespace or pool"
        return [
            Problem("service", f"{', '.join(names[:_MOST_NAMED])} of {inputs['service']!r} is made by {other} as well", expected, fix)
            for other, names in by_other.items()
        ]

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        return [*compare(self.spec, old_inputs, inputs), *cluster_changes(old_inputs, inputs)]

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {}

    def create(self, inputs: Values, context: Context) -> Created:
        self._claim(inputs, {}, context)
        return Created(f"{inputs['namespace']}/{inputs['service']}", {})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        self._claim(inputs, state, context)
        return {}

    def _claim(self, inputs: Values, state: Values, context: Context) -> None:
        cluster, claim = cluster_of(inputs, context), _claim(inputs, state, context)
        there = ownership.look(cluster, claim)
        if found := ownership.problems(claim, there):
            raise InputError(found)
        ownership.take_over(cluster, claim, there, owner(inputs, context))
        for name in sorted({*inputs["autoscaled"]} - {*(state.get("autoscaled") or ())}):
            hand_over_replicas(cluster, inputs["namespace"], name)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("KubernetesClaim", "which objects a service has is its program's to say")
        return Found(dict(inputs), {})

    # On the namespace: a claim that is replaced before it has objects leaves the namespace to its successor as well.

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        if inputs["create_namespace"]:
            body = {"metadata": {"annotations": {_making_annotation(inputs): context.making}}}
            cluster_of(inputs, context).patch(_namespace_path(inputs), body)

    def marked(self, id: str, state: Values, context: Context) -> str:
        found = cluster_of(state, context).metadata(_namespace_path(state)) if state.get("create_namespace") else None
        return "" if found is None else str((found.get("annotations") or {}).get(_making_annotation(state), ""))

    def delete(self, id: str, state: Values, context: Context) -> None:
        if not state.get("create_namespace"):
            return
        cluster, namespace, owners = cluster_of(state, context), state["namespace"], own_names(state, context)
        path = _namespace_path(state)
        found = cluster.metadata(path)
        if found is None:
            return
        if ownership.owner_of_object(found) not in owners:
            context.warn(f"namespace {namespace} stays: it is not this stack's any more")
            return
        left = ownership.left_in_namespace(cluster, namespace, state["service"], owners)
        if foreign := left.foreign:
            more = f" and {len(foreign) - _MOST_NAMED} more" if len(foreign) > _MOST_NAMED else ""
            context.warn(f"namespace {namespace} stays: it holds what is not this service's ({', '.join(foreign[:_MOST_NAMED])}{more})")
            return
        if left.own:  # a claim of before there were marks was replaced, and what it stands for goes on
            return
        _remove(cluster, path, str(found["uid"]), namespace, context)


def _namespace_path(values: Values) -> str:
    return f"/api/v1/namespaces/{quote(values['namespace'])}"


def _making_annotation(values: Values) -> str:
    """One for each service: several services of a stack may say that a namespace is theirs."""
    return f"{MAKING_ANNOTATION}-{digest_mark(values['service'])}"


def _remove(cluster: Cluster, path: str, uid: str, namespace: str, context: Context) -> None:
    cluster.delete(path, uid)

    def gone() -> bool:
        found = cluster.metadata(path)
        return found is None or found["uid"] != uid

    if not context.wait_until(gone, _GONE_SECONDS, f"waiting for namespace {namespace} to go", 0.5):
        raise PlatformError(f"namespace {namespace} is not gone within {_GONE_SECONDS:g} s; see `kubectl describe namespace {namespace}`")


def _claim(inputs: Values, before: Values, context: Context) -> Claim:
    """before: inputs or state of the last update; empty: there was none."""
    owners = {owner(inputs, context), *(own_names(before, context) if before else ())}
    objects: list[dict[str, Any]] = inputs["objects"]
    return Claim(
        namespace=inputs["namespace"],
        service=inputs["service"],
        owners=frozenset(owners),
        objects=tuple(Ref(it["api_version"], it["kind"], it["name"]) for it in objects),
        makes_namespace=inputs["create_namespace"],
        take_over_from=str(inputs.get("take_over_from") or ""),
    )
