"""How many servers a track of a service has, and how it gets more of them before it gets more requests.

Where an autoscaler sets the replicas, it is told to keep at least so many (`minReplicas`) for a while, and what it was told before
is kept in an annotation until then: nothing that it has set is ever taken back, and what a killed plugin left is found again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from isthmus.apiserver.connection import Object
from isthmus.apiserver.errors import ConflictError
from isthmus.errors import PlatformError
from isthmus.limits import CLUSTER
from isthmus.names import COMPONENT_LABEL, DOMAIN, SERVER, SERVICE_LABEL, TRACK_LABEL
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.client import Cluster

BEFORE_ANNOTATION: Final = f"{DOMAIN}/min-replicas-before"
"""Of an autoscaler that is told to keep more: what it was told before."""
MANAGER: Final = "isthmus-replicas"
READY_SECONDS: Final = float(CLUSTER["deadline_seconds"].default)
NOTICE_SECONDS: Final = 90.0
"""How long an autoscaler may take to see a load that is new: metrics are read every 15 s over up to 60 s, and looked at every 15 s."""
START_SECONDS: Final = 75.0
"""How long a server's start is in what an autoscaler looks at: a start computes as much as a load does."""
_POLL_SECONDS: Final = 0.5
_ON_ITS_WAY: Final = frozenset({"PodInitializing", "ContainerCreating"})


@dataclass(frozen=True)
class Pool:
    """Servers of one kind: a Deployment, and its autoscaler if it has one.

    wanted: replicas that it is told to have. ready: that take requests, of its newest template. least, most: of the autoscaler;
    least: as its program has it. limited: the autoscaler would have fewer than it must keep. held: it is told to keep more.
    """

    name: str
    track: str
    wanted: int
    ready: int
    least: int | None = None
    most: int | None = None
    limited: bool = False
    held: bool = False

    @property
    def autoscaled(self) -> bool:
        return self.least is not None


def needed(wanted: Mapping[str, int], percents: Mapping[str, int]) -> int:
    """The servers that all requests need, from how many each track has for its share of them. Pure.

    The track with the largest share says it best: a small share is served by whatever is the least. Never more than all that
    serve now, since these are enough.
    """
    serving = {track: percent for track, percent in percents.items() if percent and wanted.get(track)}
    if not serving:
        return 0
    track = max(serving, key=lambda it: serving[it])
    return min(math.ceil(wanted[track] * 100 / serving[track]), sum(wanted[it] for it in serving))


class Capacity:
    """The servers of one service."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, context: Context) -> None:
        self._cluster, self._namespace, self._service, self._context = cluster, namespace, service, context

    def within(self, context: Context) -> "Capacity":
        """The same, under another context."""
        return Capacity(self._cluster.within(context), self._namespace, self._service, context)

    def pools(self, track: str = "") -> list[Pool]:
        """Those of a track, or all; by name."""
        selector = {SERVICE_LABEL: self._service, COMPONENT_LABEL: SERVER, **({TRACK_LABEL: track} if track else {})}
        scalers = {it["spec"]["scaleTargetRef"]["name"]: it for it in self._cluster.items(self._scalers, selector)}
        found = (_pool(it, scalers.get(it["metadata"]["name"])) for it in self._cluster.items(self._deployments, selector))
        return sorted(found, key=lambda pool: pool.name)

    def wanted(self, track: str) -> int:
        """How many servers a track is told to have."""
        return sum(pool.wanted for pool in self.pools(track))

    def hold(self, track: str) -> None:
        """Keeps the servers that a track has, whatever its autoscaler thinks of them, until `let_go`."""
        for pool in self.pools(track):
            self._keep(pool, pool.wanted)

    def raise_to(self, track: str, replicas: int) -> int:
        """Gives a track so many servers, if it has fewer, and keeps them until `let_go`; they may not be ready yet.

        Returns how many it will have: no more than its autoscaler may give it. A track of several pools has what its program gives it.
        """
        pools = self.pools(track)
        if len(pools) != 1:
            return sum(pool.wanted for pool in pools)
        return self.raise_pool(pools[0], replicas)

    def raise_pool(self, pool: Pool, replicas: int) -> int:
        """The same for one pool."""
        wanted = max(pool.wanted, min(replicas, pool.most) if pool.most is not None else replicas)
        self._keep(pool, wanted)
        if wanted > pool.wanted:
            self._cluster.patch(f"{self._deployments}/{quote(pool.name)}/scale", {"spec": {"replicas": wanted}})
        return wanted

    def await_ready(self, least: Mapping[str, int], timeout_seconds: float = READY_SECONDS) -> None:
        """Waits until each of these Deployments has so many ready servers of its newest template. Raises PlatformError, naming them."""
        short: list[str] = []

        def done() -> bool:
            found = {pool.name: pool.ready for pool in self.pools()}
            short[:] = [f"{name} has {found.get(name, 0)} of {count} servers ready" for name, count in least.items()]
            short[:] = [line for line, (name, count) in zip(short, least.items(), strict=True) if found.get(name, 0) < count]
            return not short

        if not self._context.wait_until(done, timeout_seconds, f"waiting for the servers of {self._service}", _POLL_SECONDS):
            raise PlatformError(f"{'; '.join(short)} after {timeout_seconds:g} s{self._why()}. Fix: see `isthmus status`")

    def await_track(self, track: str, replicas: int, timeout_seconds: float = READY_SECONDS) -> None:
        """The same for a track, whose pools have what they are told; `replicas`: for all of them together, of which fewer may be theirs."""
        pools = self.pools(track)
        least = {pool.name: pool.wanted if len(pools) > 1 else min(pool.wanted, replicas) for pool in pools}
        self.await_ready(least, timeout_seconds)

    def await_notice(self, track: str, timeout_seconds: float = NOTICE_SECONDS) -> None:
        """Waits until the autoscaler itself wants as many servers as it is told to keep, but no longer than it takes to see a new load.

        What it wants while servers have just been started does not count. Where it was not told to keep more there is nothing to wait for.
        """

        def done() -> bool:
            held = [pool for pool in self.pools(track) if pool.held]
            return not held or not (any(pool.limited for pool in held) or self._has_just_started(track))

        self._context.wait_until(done, timeout_seconds, f"waiting for the autoscaler of {track} to see its load", _POLL_SECONDS)

    def let_go(self, track: str = "") -> None:
        """The autoscalers do as their program says again."""
        for pool in self.pools(track):
            if pool.held:
                body: Object = {"metadata": {"annotations": {BEFORE_ANNOTATION: None}}, "spec": {"minReplicas": pool.least}}
                self._cluster.patch(f"{self._scalers}/{quote(pool.name)}", body)

    def _keep(self, pool: Pool, replicas: int) -> None:
        if pool.least is None or replicas <= pool.least:
            return
        body: Object = {"metadata": {"annotations": {BEFORE_ANNOTATION: str(pool.least)}}, "spec": {"minReplicas": replicas}}
        self._cluster.patch(f"{self._scalers}/{quote(pool.name)}", body)

    def _has_just_started(self, track: str) -> bool:
        selector = {SERVICE_LABEL: self._service, COMPONENT_LABEL: SERVER, TRACK_LABEL: track}
        youngest = datetime.now(UTC) - timedelta(seconds=START_SECONDS)
        return any(pod.ready_since and pod.ready_since > youngest for pod in self._cluster.pods(self._namespace, selector))

    def _why(self) -> str:
        """What the scheduler or a kubelet says about the first server that is not ready; empty where nobody says anything."""
        selector = {SERVICE_LABEL: self._service, COMPONENT_LABEL: SERVER}
        for pod in self._cluster.items(f"/api/v1/namespaces/{quote(self._namespace)}/pods", selector):
            if text := _complaint(pod.get("status", {})):
                return f" ({pod['metadata']['name']}: {text})"
        return ""

    @property
    def _deployments(self) -> str:
        return f"/apis/apps/v1/namespaces/{quote(self._namespace)}/deployments"

    @property
    def _scalers(self) -> str:
        return f"/apis/autoscaling/v2/namespaces/{quote(self._namespace)}/horizontalpodautoscalers"


def hand_over_replicas(cluster: Cluster, namespace: str, deployment: str) -> None:
    """Keeps a Deployment's replicas as they are when its program stops naming them, so that it does not fall to one.

    With server-side apply a field that its last owner leaves out gets its default: so it gets another owner first.
    """
    path = f"/apis/apps/v1/namespaces/{quote(namespace)}/deployments/{quote(deployment)}"
    found = cluster.get(path)
    if found is None or "replicas" not in found["spec"]:
        return
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": deployment, "namespace": namespace},
        "spec": {"replicas": found["spec"]["replicas"]},
    }
    try:
        cluster.apply(path, body, MANAGER)
    except ConflictError:  # an autoscaler changed it just now: it is its field already
        return


def _complaint(status: Object) -> str:
    """What the scheduler or a kubelet has against a Pod; empty: nothing, or that it is not that far."""
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    waiting = [it.get("state", {}).get("waiting", {}) for it in containers]
    said = [it.get("message") or it["reason"] for it in waiting if it.get("reason") not in {None, *_ON_ITS_WAY}]
    said += [it.get("message") for it in status.get("conditions") or () if (it["type"], it["status"]) == ("PodScheduled", "False")]
    return next(filter(None, said), "")


def _pool(deployment: Object, scaler: Object | None) -> Pool:
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status", {})
    wanted = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0))
    ready = min(int(status.get("readyReplicas", 0)), int(status.get("updatedReplicas", 0))) if seen else 0
    pool = Pool(metadata["name"], (metadata.get("labels") or {}).get(TRACK_LABEL, ""), wanted, ready)
    if scaler is None:
        return pool
    before = (scaler["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION)
    least = int(before) if before and before.isdecimal() else int(scaler["spec"].get("minReplicas", 1))
    status = scaler.get("status", {})
    unseen = int(status.get("observedGeneration", 0)) < int(scaler["metadata"].get("generation", 0))
    conditions = {it["type"]: (it["status"], it.get("reason")) for it in status.get("conditions") or ()}
    return Pool(
        pool.name,
        pool.track,
        wanted,
        ready,
        least,
        int(scaler["spec"]["maxReplicas"]),
        unseen or conditions.get("ScalingLimited", ("True", "TooFewReplicas")) == ("True", "TooFewReplicas"),
        before is not None,
    )
