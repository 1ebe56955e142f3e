"""Why Pods do not work, in words that name the Pod and the reason. Pure, but for what `Look` fetches."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

Live = Mapping[str, Any]

# States that every container goes through on its way.
_ON_THE_WAY: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
_LOG_LINES: Final = 5
_PODS_NAMED: Final = 5


class Look(Protocol):
    """What else is in the namespace of the object that is waited for."""

    def list(self, api_version: str, kind: str, *, labels: str = "", fields: str = "") -> "list[Live]":
        """All objects of a kind that match the selectors; none where the kind is unknown or may not be read."""
        ...

    def get(self, api_version: str, kind: str, name: str) -> Live | None:
        """One object of any namespace-less kind, or of this namespace."""
        ...

    def log(self, pod: str, container: str, lines: int) -> str:
        """The last lines that a container wrote before it ended; empty where there are none."""
        ...


def selector(live: Live) -> str:
    """The label selector of a workload, as a query. Empty: none that can be written so."""
    labels = live.get("spec", {}).get("selector", {}).get("matchLabels", {})
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def condition(live: Live, kind: str) -> Mapping[str, Any]:
    """The condition of that type in the object's status; empty where it is not there yet."""
    for found in live.get("status", {}).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return {}


def owned(objects: "list[Live]", owner: Live) -> "list[Live]":
    """Those whose controller is `owner`."""
    uid = owner["metadata"].get("uid")
    return [item for item in objects if any(ref.get("uid") == uid for ref in item["metadata"].get("ownerReferences") or ())]


def problems(pods: "list[Live]", look: Look) -> list[str]:
    """What is wrong with these Pods, one line for each Pod and reason."""
    found: list[str] = []
    for pod in pods[:_PODS_NAMED]:
        name = pod["metadata"]["name"]
        lines = list(dict.fromkeys(_pod(pod, look)))
        found += [f"Pod {name}: {line}" for line in lines or _events(name, look)]
    return found


def ready(pod: Live) -> bool:
    """Whether the Pod serves, or has done its work."""
    return pod.get("status", {}).get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True"


def _pod(pod: Live, look: Look) -> Iterator[str]:
    status = pod.get("status", {})
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        yield _said(scheduled.get("reason", "not scheduled"), scheduled.get("message"))
    if status.get("phase") == "Failed":
        yield _said(status.get("reason", "failed"), status.get("message"))
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        yield from _container(pod["metadata"]["name"], container, look)


def _container(pod: str, status: Live, look: Look) -> Iterator[str]:
    state, name = status.get("state", {}), status["name"]
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = status.get("lastState", {}).get("terminated")
    if waiting and waiting.get("reason", "") not in _ON_THE_WAY:
        crashed = waiting["reason"] == "CrashLoopBackOff"
        detail = _end(pod, name, last, look) if crashed and last else waiting.get("message")
        yield f"container {name}: {_said(waiting['reason'], detail)}"
    elif ended and ended.get("exitCode"):
        yield f"container {name}: {_said(ended.get('reason', 'Error'), _end(pod, name, ended, look))}"
    elif last and last.get("exitCode") and not status.get("ready"):
        yield f"container {name}: ended before with {_said(last.get('reason', 'Error'), _end(pod, name, last, look))}"
    elif "running" in state and status.get("ready") is False and status.get("started") is not None:
        unhealthy = [text for text in _events(pod, look) if text.startswith("Unhealthy")]
        yield f"container {name}: runs, but is not ready" + (f": {unhealthy[-1]}" if unhealthy else "")


def _end(pod: str, container: str, ended: Live, look: Look) -> str:
    """How a container ended: its status, and what it said last."""
    said = (ended.get("message") or look.log(pod, container, _LOG_LINES)).strip()
    return f"exit status {ended.get('exitCode')}" + (f", it said last:\n{said}" if said else "")


def _events(pod: str, look: Look) -> list[str]:
    """Warnings about the Pod, the last of each reason."""
    return events(look, "Pod", pod)


def events(look: Look, kind: str, name: str) -> list[str]:
    """Warnings about an object, the last of each reason."""
    found = look.list("v1", "Event", fields=f"involvedObject.kind={kind},involvedObject.name={name},type=Warning")
    ordered = sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return list({event.get("reason"): _said(event.get("reason", ""), event.get("message")) for event in ordered}.values())


def _said(reason: str, message: Any) -> str:
    return f"{reason}: {message}" if message else reason
