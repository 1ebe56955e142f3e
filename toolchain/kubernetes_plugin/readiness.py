"""When an object counts as ready: one function for each kind that has more to it than being there. Pure, but for what `Look` fetches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolchain.kubernetes_plugin.changes import same_quantity
from toolchain.kubernetes_plugin.pods import Live, Look, condition, events, owned, problems, ready, selector

_REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Readiness:
    """done: nothing to wait for. failed: waiting longer is of no use. progress: what is missing, for the resource's row.

    explain: why, in lines that name Pods and reasons; called only when somebody wants to know, because it asks the API server.
    settles: good enough if it stays so for a while.
    """

    done: bool
    progress: str = ""
    failed: bool = False
    explain: Callable[[], Sequence[str]] = tuple
    settles: bool = False


READY: Final = Readiness(done=True)


def readiness(live: Live, look: Look) -> Readiness:
    """How far the object is."""
    group = str(live.get("apiVersion", "")).rpartition("/")[0]
    check = _CHECKS.get((group, str(live.get("kind"))))
    return check(live, look) if check else READY


def _observed(live: Live) -> bool:
    """Whether the controller has seen the last change."""
    return int(live.get("status", {}).get("observedGeneration", 0)) >= int(live["metadata"].get("generation", 0))


def _pods_of(live: Live, look: Look) -> list[Live]:
    return [pod for pod in look.list("v1", "Pod", labels=selector(live)) if not pod["metadata"].get("deletionTimestamp")]


def _deployment(live: Live, look: Look) -> Readiness:
    status, want = live.get("status", {}), int(live["spec"].get("replicas", 1))
    progressing, available = condition(live, "Progressing"), condition(live, "Available")
    updated, serving = int(status.get("updatedReplicas", 0)), int(status.get("availableReplicas", 0))
    # A deadline that is switched off leaves the condition out.
    rolled_out = not progressing or progressing.get("reason") == "NewReplicaSetAvailable"
    enough = updated >= want and serving >= want and int(status.get("replicas", 0)) <= updated
    if _observed(live) and rolled_out and enough and (available.get("status") == "True" or want == 0):
        return READY

    def explain() -> list[str]:
        sets = owned(look.list("apps/v1", "ReplicaSet", labels=selector(live)), live)
        revision = live["metadata"].get("annotations", {}).get(_REVISION)
        newest = [item for item in sets if item["metadata"].get("annotations", {}).get(_REVISION) == revision]
        pods = [pod for item in newest for pod in owned(_pods_of(live, look), item) if not ready(pod)]
        return [*_creation(live, newest, look), *problems(pods, look), *_deadline(progressing)]

    failed = _observed(live) and progressing.get("reason") == "ProgressDeadlineExceeded"
    progress = f"{min(serving, updated)} of {want} Pods available" if _observed(live) else "waiting for the Deployment controller"
    return Readiness(False, progress, failed, explain)


def _creation(live: Live, replica_sets: list[Live], look: Look) -> list[str]:
    """Why Pods cannot be created at all: quota, admission."""
    for item in (live, *replica_sets):
        failure = condition(item, "ReplicaFailure")
        if failure.get("status") == "True":
            return [f"Pods cannot be created: {failure.get('reason')}: {failure.get('message')}"]
    return [f"Pods cannot be created: {text}" for item in replica_sets for text in events(look, "ReplicaSet", item["metadata"]["name"])]


def _deadline(progressing: Mapping[str, Any]) -> list[str]:
    if progressing.get("reason") != "ProgressDeadlineExceeded":
        return []
    return [f"ProgressDeadlineExceeded: {progressing.get('message')}"]


def _unready_pods(live: Live, look: Look, kind: str) -> Callable[[], Sequence[str]]:
    def explain() -> list[str]:
        pods = [pod for pod in owned(_pods_of(live, look), live) if not ready(pod)]
        return [*problems(pods, look), *(events(look, kind, live["metadata"]["name"]))]

    return explain


def _stateful_set(live: Live, look: Look) -> Readiness:
    status, spec = live.get("status", {}), live["spec"]
    want, strategy = int(spec.get("replicas", 1)), spec.get("updateStrategy", {})
    partition = int(strategy.get("rollingUpdate", {}).get("partition", 0))
    rolls = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    updated = not rolls or int(status.get("updatedReplicas", 0)) >= want - partition
    if not partition and rolls:
        updated = updated and status.get("currentRevision") == status.get("updateRevision")
    serving = int(status.get("readyReplicas", 0))
    if _observed(live) and updated and serving >= want:
        return READY
    return Readiness(False, f"{serving} of {want} Pods ready", explain=_unready_pods(live, look, "StatefulSet"))


def _daemon_set(live: Live, look: Look) -> Readiness:
    status = live.get("status", {})
    want, serving = int(status.get("desiredNumberScheduled", 0)), int(status.get("numberAvailable", 0))
    rolls = live["spec"].get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    if _observed(live) and serving >= want and (not rolls or int(status.get("updatedNumberScheduled", 0)) >= want):
        return READY
    return Readiness(False, f"{serving} of {want} Pods available", explain=_unready_pods(live, look, "DaemonSet"))


def _pod(live: Live, look: Look) -> Readiness:
    if ready(live):
        return READY
    phase = live.get("status", {}).get("phase", "Pending")
    return Readiness(False, f"Pod is {phase}", phase == "Failed", lambda: problems([live], look))


def _job(live: Live, look: Look) -> Readiness:
    if condition(live, "Complete").get("status") == "True" or live["spec"].get("suspend"):
        return READY
    failure = condition(live, "Failed")
    failed = failure.get("status") == "True"

    def explain() -> list[str]:
        why = [f"{failure.get('reason')}: {failure.get('message')}"] if failed else []
        return [*why, *problems([pod for pod in owned(_pods_of(live, look), live) if not ready(pod)], look)]

    return Readiness(False, f"{live.get('status', {}).get('succeeded', 0)} Pods succeeded", failed, explain)


def _service(live: Live, look: Look) -> Readiness:
    spec, name = live["spec"], live["metadata"]["name"]
    if spec.get("type") == "LoadBalancer" and not _has_ingress(live):
        return Readiness(False, "waiting for the load balancer's address", explain=lambda: events(look, "Service", name))
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return READY
    slices = look.list("discovery.k8s.io/v1", "EndpointSlice", labels=f"kubernetes.io/service-name={name}")
    endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or ()]
    if any(endpoint.get("conditions", {}).get("ready", True) for endpoint in endpoints):
        return READY
    if slices and not endpoints:
        return Readiness(False, "its selector matches no Pod yet", settles=True)
    explain = lambda: ["it selects Pods, but none of them is ready"]  # noqa: E731
    return Readiness(False, "waiting for ready Pods", explain=explain)


def _has_ingress(live: Live) -> bool:
    return bool(live.get("status", {}).get("loadBalancer", {}).get("ingress"))


def _ingress(live: Live, look: Look) -> Readiness:
    name = live["metadata"]["name"]
    return READY if _has_ingress(live) else Readiness(False, "waiting for an address", explain=lambda: events(look, "Ingress", name))


def _claim(live: Live, look: Look) -> Readiness:
    phase, name = live.get("status", {}).get("phase"), live["spec"].get("storageClassName")
    if phase == "Bound":
        return READY
    storage = look.get("storage.k8s.io/v1", "StorageClass", name) if name else None
    if storage and storage.get("volumeBindingMode") == "WaitForFirstConsumer" and phase == "Pending":
        return READY
    explain = lambda: events(look, "PersistentVolumeClaim", live["metadata"]["name"])  # noqa: E731
    return Readiness(False, f"claim is {phase or 'new'}", phase == "Lost", explain)


def _volume(live: Live, look: Look) -> Readiness:
    phase = live.get("status", {}).get("phase")
    return READY if phase in ("Available", "Bound") else Readiness(False, f"volume is {phase or 'new'}", phase == "Failed")


def _namespace(live: Live, look: Look) -> Readiness:
    phase = live.get("status", {}).get("phase")
    return READY if phase == "Active" else Readiness(False, f"namespace is {phase or 'new'}", phase == "Terminating")


def _quota(live: Live, look: Look) -> Readiness:
    want, have = live["spec"].get("hard", {}), live.get("status", {}).get("hard", {})
    taken_up = want.keys() == have.keys() and all(same_quantity(want[key], have[key]) for key in want)
    return READY if taken_up else Readiness(False, "waiting for the quota controller")


def _definition(live: Live, look: Look) -> Readiness:
    if condition(live, "Established").get("status") == "True":
        return READY
    names = condition(live, "NamesAccepted")
    refused = names.get("status") == "False"
    return Readiness(False, "waiting until the kind is served", refused, lambda: [str(names["message"])] if refused else [])


# (group, kind) → its check. Everything else is ready as soon as it is there.
_CHECKS: Final[Mapping[tuple[str, str], Callable[[Live, Look], Readiness]]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Namespace"): _namespace,
    ("", "ResourceQuota"): _quota,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
