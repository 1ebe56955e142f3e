"""What the handlers share that keep something in a Kubernetes cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from isthmus.apiserver.kubeconfig import Access, active, active_cluster
from isthmus.apiserver.retrying import AWAY_SECONDS
from isthmus.errors import IsthmusError, Problem
from isthmus.plugin.diffs import Change
from isthmus.plugin.handler import Context, Values
from isthmus.plugin.schema import Property
from isthmus.plugin.values import UNKNOWN, is_known
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.traffic import Traffic, TrafficMap
from isthmus.provider.handlers.owners import OWNER, own_names, owner

PATIENCE_AT_PREVIEW_SECONDS: Final = 5.0

PLACE: Final[Mapping[str, Property]] = {
    "kubeconfig": Property(
        "string", "content or path of a kubeconfig; empty: what kubectl would use", required=False, secret=True, compared=False
    ),
    "context": Property("string", "the context in it; empty: its current one", required=False, compared=False),
    "namespace": Property("string", "the service's namespace", replaces=True),
    "service": Property("string", "the service's name", replaces=True),
    "owner": OWNER,
}


def cluster_of(values: Values, context: Context, patience_seconds: float = AWAY_SECONDS) -> Cluster:
    """The cluster that `values` name; kubectl's own where they name none. Raises PlatformError where the kubeconfig cannot be used."""
    return Cluster(_access(values), context, patience_seconds)


def traffic_map(values: Values, context: Context, patience_seconds: float = AWAY_SECONDS) -> TrafficMap:
    """The split of the service that `values` name. Raises PlatformError where the kubeconfig cannot be used."""
    cluster = cluster_of(values, context, patience_seconds)
    return TrafficMap(cluster, values["namespace"], values["service"], _owners(values, context))


def cluster_changes(old: Values, new: Values) -> Sequence[Change]:
    """Another API server is another cluster: what is in the old one has to be made anew. Other credentials for it are not."""
    if not is_known([old.get("kubeconfig"), new.get("kubeconfig"), new.get("context")]):
        return ()
    servers = [server_of(values) for values in (old, new)]
    return [Change(("kubeconfig",), "update", replaces=True)] if all(servers) and servers[0] != servers[1] else ()


def server_of(values: Values) -> str:
    """The URL of the API server that `values` name, in its one spelling; empty where nobody can tell."""
    from isthmus.release.store import normal_endpoint

    return normal_endpoint(str(active_cluster(_access(values)).get("server") or ""))


def place_problems(inputs: Values) -> Sequence[Problem]:
    """What is wrong with the kubeconfig as it is written."""
    if not is_known([inputs.get("kubeconfig"), inputs.get("context")]) or not inputs.get("kubeconfig"):
        return ()
    try:
        active(_access(inputs))
    except IsthmusError as error:
        return [Problem("kubeconfig", str(error))]
    return ()


def promoted_problems(inputs: Values, canary_digest: Any, path: str, context: Context) -> Sequence[Problem]:
    """Whether the canary's servers have all the traffic, of another release than the one that they are to become.

    Asked before anything is changed, while the cluster answers; a cluster that does not is no problem of this kind.
    """
    place = [inputs.get(name) for name in PLACE]
    if not is_known(place) or canary_digest is UNKNOWN or not canary_digest:
        return ()
    try:
        found = traffic_map(inputs, context, PATIENCE_AT_PREVIEW_SECONDS).read()
    except IsthmusError:
        return ()
    return refused_canary(found, canary_digest, path) if found is not None else ()


def refused_canary(found: Traffic, canary_digest: str, path: str) -> Sequence[Problem]:
    """The problem of a canary that would take the place of a promoted one."""
    if not found.promoted or found.digest == canary_digest:
        return ()
    return [
        Problem(
            path,
            f"the canary's servers hold the promoted release {found.digest} and have 100 % of the traffic: {canary_digest} would replace "
            "it there without a gate",
            "the promoted release as the stable one first",
            f'give `model: "{found.digest}"` with its version, without `canary`, and `pulumi up`; then add the new canary. Or send the '
            "traffic back first: `isthmus rollback`",
        )
    ]


def _owners(values: Values, context: Context) -> list[str]:
    own = owner(values, context)
    return [own, *sorted(own_names(values, context) - {own})]


def _access(values: Values) -> Access:
    return Access(str(values.get("kubeconfig") or ""), str(values.get("context") or ""))
