"""`isthmus rollback`: all of a service's traffic to its stable release."""

from collections.abc import Callable, Mapping

from isthmus.errors import InputError, PlatformError, Problem
from isthmus.names import CANARY, STABLE, TRACK_LABEL
from isthmus.observing.parts import AVAILABLE, Outputs, one_of
from isthmus.observing.stack_state import StackState
from isthmus.platforms.kubernetes import pods
from isthmus.platforms.kubernetes.observe import Place, deployed
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.shifting import rollback
from isthmus.provider.clusters.traffic import Traffic, TrafficMap

_WHY_NOT: Mapping[str, str] = {
    "local": "it serves one release at a time",
    "docker": "it serves one release at a time, and an update that fails leaves the old servers as they are",
}


def roll_back(state: StackState, service: str, progress: Callable[[str], None], *, at_once: bool = False) -> str:
    """What was done, in one line. It returns when every gateway has taken up the split.

    at_once: with the servers that the stable release has now, be they enough or not.

    Raises:
        InputError: no such service, or one on a platform without canaries.
        PlatformError: the cluster does not answer, or the stable release has no server to answer anybody.
    """
    outputs = one_of(state, service, "SERVICE")
    _refuse_others(service, outputs)
    place = Place.of(outputs)
    api = deployed(place, state)
    owners = [place.owner] if place.owner else []
    cluster = Cluster(place.access(), Context("", progress=progress))
    before = TrafficMap(cluster, place.namespace, place.service, owners).read_or_fail()
    if CANARY not in before.tracks:
        return f"{service} has no canary: the stable release has all the traffic already ({_release(before)})"
    servers = [pods.part(it) for it in place.items(api, "api/v1", "pods", **{TRACK_LABEL: STABLE})]
    if not any(server.state == AVAILABLE for server in servers):
        why = "no server of its stable release is ready, so nobody would get an answer"
        raise PlatformError(f"{service} is not rolled back: {why}. Fix: see `isthmus status`")
    traffic = rollback(place.access(), place.namespace, place.service, progress, owners, at_once=at_once)
    return f"the stable release of {service} has all the traffic ({_release(traffic)}); every gateway has confirmed it"


def _refuse_others(service: str, outputs: Outputs) -> None:
    platform = (outputs.get("place") or {"platform": "local"})["platform"]
    if platform != "kubernetes":
        reason = _WHY_NOT.get(platform, "it has no canaries")
        fix = "give the former `model` or its digest and `pulumi up`: a release that was built before is there at once"
        raise InputError([Problem("SERVICE", f"{service!r} runs on platform {platform}: {reason}", "a service on kubernetes", fix)])


def _release(traffic: Traffic) -> str:
    stable = traffic.tracks[STABLE]
    return f"version {stable.version}, {stable.digest[:19]}" if stable.digest else f"version {stable.version}"
