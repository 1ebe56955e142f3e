"""KubernetesCapacity: nobody is told that a service is up before it has the servers that were planned."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from isthmus.errors import IsthmusError, Problem
from isthmus.limits import CLUSTER
from isthmus.owner import ForeignOwnerError
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties
from isthmus.provider.clusters.capacity import Capacity
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.ownership import Ref, owner_of_object
from isthmus.provider.handlers.clusters import PLACE, cluster_changes, cluster_of, place_problems
from isthmus.provider.handlers.owners import OWNER_UNCOMPARED, own_names

_DEPLOYMENT: Final = "apps/v1"


class KubernetesCapacityHandler(HandlerBase):
    """It comes after all objects of a service and goes before them: so it is also who sees, before any of them is deleted, that they
    have become somebody else's."""

    spec = ResourceSpec(
        name="KubernetesCapacity",
        description="The planned servers of a service, all ready. Where an autoscaler sets the replicas, it begins with those of the plan.",
        inputs={
            **PLACE,
            "owner": OWNER_UNCOMPARED,
            "replicas": Property("object", "Deployment → servers that are planned", items=Property("integer", "servers", minimum=0)),
            "ready_seconds": Property.of(CLUSTER["deadline_seconds"]),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return place_problems(inputs)

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        return [*compare(self.spec, old_inputs, inputs), *cluster_changes(old_inputs, inputs)]

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {}

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['namespace']}/{inputs['service']}"
        self._fill(inputs, {}, id, context)
        return Created(id, {})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        self._fill(inputs, state.get("replicas") or {}, id, context)
        return {}

    def _fill(self, inputs: Values, before: Mapping[str, int], id: str, context: Context) -> None:
        """before: what was planned until now. A plan that has grown is filled; what an autoscaler made of the old one stays."""
        capacity, planned = _capacity(inputs, context), inputs["replicas"]
        try:
            least = {}
            for pool in capacity.pools():
                grown = planned.get(pool.name, 0) > before.get(pool.name, 0)
                wanted = capacity.raise_pool(pool, planned[pool.name]) if grown and pool.autoscaled else pool.wanted
                if pool.name in planned:
                    least[pool.name] = wanted
            missing = {name: count for name, count in planned.items() if name not in least}
            capacity.await_ready({**missing, **least}, inputs["ready_seconds"])
        except IsthmusError as error:
            raise PartlyMadeError([str(error)], {}, id) from None
        finally:
            capacity.within(Context(context.urn, progress=context.progress)).let_go()

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("KubernetesCapacity", "what is planned is its program's to say")
        return Found(dict(inputs), {})

    def delete(self, id: str, state: Values, context: Context) -> None:
        cluster, owners = cluster_of(state, context), own_names(state, context)
        foreign = _foreign(cluster, state, owners)
        if foreign:
            names, owner = ", ".join(foreign), next(iter(foreign.values()))
            raise ForeignOwnerError(
                f"Deployment {names} in namespace {state['namespace']} belongs to {owner} by now: nothing of this service is deleted. "
                f"Fix: take it out of this stack's state: `pulumi state delete --target-dependents '{_claim_urn(context.urn)}'`"
            )


def _foreign(cluster: Cluster, state: Values, owners: frozenset[str]) -> dict[str, str]:
    """The service's Deployments that carry another owner, with it."""
    found: dict[str, str] = {}
    for name in state["replicas"]:
        metadata: dict[str, Any] | None = cluster.metadata(Ref(_DEPLOYMENT, "Deployment", name).path(state["namespace"]))
        owner = owner_of_object(metadata) if metadata else ""
        if owner and owner not in owners:
            found[name] = owner
    return found


def _claim_urn(urn: str) -> str:
    """Of the claim that all objects of the service depend on."""
    return urn.replace("KubernetesCapacity", "KubernetesClaim").removesuffix("-capacity") + "-claim"


def _capacity(values: Values, context: Context) -> Capacity:
    return Capacity(cluster_of(values, context), values["namespace"], values["service"], context)
