"""What Kubernetes' objects say about a service, read. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus import names
from isthmus.observing.parts import AVAILABLE, LEAVING, Part

Object = Mapping[str, Any]

_MESSAGE_CHARACTERS = 160
# What every container waits for; anything else that it waits for is the reason.
_USUAL = frozenset({"", "PodInitializing", "ContainerCreating"})


@dataclass(frozen=True)
class Container:
    """One container's log. previous: of the one before the restart."""

    namespace: str
    pod: str
    uid: str
    container: str
    previous: bool = False

    @property
    def name(self) -> str:
        return f"{self.pod}/{self.container}{' (before its restart)' if self.previous else ''}"


def part(pod: Object) -> Part:
    """A Pod as a row."""
    metadata = pod["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return Part(
        kind=_kind(labels),
        name=metadata["name"],
        on=str((pod.get("spec") or {}).get("nodeName") or ""),
        state=state(pod),
        release=str(annotations.get(names.RELEASE_ANNOTATION, "")),
        version=str(labels.get(names.VERSION_LABEL, "")),
        restarts=max((int(it.get("restartCount", 0)) for it in _statuses(pod)), default=0),
    )


def stuck(deployment: Object) -> Part | None:
    """A Deployment that cannot make its Pods (a quota, say) as a row."""
    conditions = _conditions(deployment)
    failed = conditions.get("ReplicaFailure", {})
    if failed.get("status") != "True":
        return None
    name, labels = deployment["metadata"]["name"], deployment["metadata"].get("labels") or {}
    return Part(_kind(labels), name, "", f"no Pod can be made: {_short(failed.get('message'))}")


def _kind(labels: Mapping[str, str]) -> str:
    if labels.get(names.COMPONENT_LABEL) == names.GATEWAY:
        return "gateway"
    pool = labels.get(names.POOL_LABEL, "")
    return f"{labels.get(names.TRACK_LABEL, names.SERVER)}{f' {pool}' if pool not in ('', names.ONLY_POOL) else ''}"


def state(pod: Object) -> str:
    """AVAILABLE once its probe has seen the version that it is to serve; LEAVING; else what keeps it."""
    status, conditions = pod.get("status") or {}, _conditions(pod)
    if "deletionTimestamp" in pod["metadata"]:
        return LEAVING
    if conditions.get("Ready", {}).get("status") == "True":
        return AVAILABLE
    if status.get("phase") == "Failed":
        return f"{status.get('reason') or 'failed'}{_after(status.get('message'))}"
    for container in _statuses(pod):
        if reason := _hold(container):
            return reason
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason') or 'not scheduled'}{_after(scheduled.get('message'))}"
    return "starting"


def _hold(container: Object) -> str:
    """Why a container does not run; empty where it does, or is only on its way."""
    now, before = container.get("state") or {}, container.get("lastState") or {}
    ended = now.get("terminated") or before.get("terminated") or {}
    waiting = now.get("waiting") or {}
    ending = f"{container['name']} ended: {ended.get('reason') or 'Error'} ({ended.get('exitCode')}){_after(ended.get('message'))}"
    if waiting.get("reason", "") not in _USUAL:
        return f"{waiting['reason']}: {ending}" if ended else f"{waiting['reason']}{_after(waiting.get('message'))}"
    if now.get("terminated") and ended.get("exitCode"):
        return ending
    return ""


def _after(message: Any) -> str:
    return f": {_short(message)}" if message else ""


def _short(message: Any) -> str:
    """The last line: what a container wrote last, where it is one's."""
    lines = [line.strip() for line in str(message or "").splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[:_MESSAGE_CHARACTERS]}…"


def containers(pod: Object) -> Iterator[Container]:
    """Each container of a Pod; before it the one that was there before, where that did not end well."""
    metadata, known = pod["metadata"], {it["name"]: it for it in _statuses(pod)}
    spec = pod.get("spec") or {}
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        about = known.get(container["name"], {})
        one = (metadata["namespace"], metadata["name"], metadata["uid"], container["name"])
        # One that waits for its restart still has its own log.
        if (about.get("lastState") or {}).get("terminated", {}).get("exitCode") and "running" in (about.get("state") or {}):
            yield Container(*one, previous=True)
        yield Container(*one)


def is_done(pod: Object, container: str) -> bool:
    """Whether a container has ended for good: an init container that succeeded, or any container of a Pod that has ended."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    init = {it["name"] for it in (pod.get("spec") or {}).get("initContainers") or ()}
    ended = {it["name"]: (it.get("state") or {}).get("terminated") for it in _statuses(pod)}
    found = ended.get(container)
    return container in init and bool(found) and not (found or {}).get("exitCode")


def autoscaler(found: Object, planned: Any) -> str:
    """An autoscaler in one line. planned: replicas by the service's plan; None: not known."""
    spec, status, labels = found["spec"], found.get("status") or {}, found["metadata"].get("labels") or {}
    plan = f"planned {int(planned)}, " if planned is not None else ""
    text = f"{_kind(labels)}: {status.get('currentReplicas', 0)} replicas ({plan}{spec.get('minReplicas', 1)} to {spec['maxReplicas']})"
    target = _cpu(spec.get("metrics"), "target")
    now = _cpu(status.get("currentMetrics"), "current")
    text += f", CPU {'unknown' if now is None else f'{now} %'} of {target} %" if target is not None else ""
    active = _conditions(found).get("ScalingActive", {})
    return f"{text}; {_short(active.get('message'))}" if active.get("status") == "False" else text


def _cpu(metrics: Any, key: str) -> int | None:
    for metric in metrics or ():
        if (metric.get("resource") or {}).get("name") == "cpu":
            value = (metric["resource"].get(key) or {}).get("averageUtilization")
            return None if value is None else int(value)
    return None


def _conditions(found: Object) -> dict[str, Mapping[str, Any]]:
    return {it["type"]: it for it in (found.get("status") or {}).get("conditions") or ()}


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
