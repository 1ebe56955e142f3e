"""The gateway Pods of a service: whether they have loaded a split, and what they have counted."""

from typing import Final

from isthmus.canary.evidence import Tally
from isthmus.errors import PlatformError
from isthmus.names import GENERATION_ANNOTATION, STATUS_PORT, service_labels
from isthmus.plugin.handler import Context
from isthmus.provider.clusters import envoy
from isthmus.provider.clusters.client import Pod
from isthmus.provider.clusters.traffic import ChangedMeanwhileError, Traffic, TrafficMap

CONFIRM_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.3


class Gateways:
    """Those of one service. Pods may come, restart and go at any time."""

    def __init__(self, traffic_map: TrafficMap, context: Context) -> None:
        self._cluster, self._namespace = traffic_map.cluster, traffic_map.namespace
        self._selector = service_labels(traffic_map.service, "gateway")
        self._service = traffic_map.service
        self._context = context
        self._old: frozenset[str] | None = None
        self.tally = Tally()

    def poke(self, traffic: Traffic, poked: set[str]) -> list[Pod]:
        """Makes the kubelets look at the ConfigMap now, which they otherwise do about once a minute: a Pod that changes is synced.

        poked: uids of the Pods that need it no more; those of this call are added.
        """
        pods = self._pods()
        for pod in pods:
            if not pod.ending and pod.uid not in poked:
                self._cluster.annotate_pod(self._namespace, pod.name, {GENERATION_ANNOTATION: str(traffic.generation)})
                poked.add(pod.uid)
        return pods

    def confirm(self, traffic: Traffic, *, at_least_one: bool, timeout_seconds: float = CONFIRM_SECONDS) -> None:
        """Waits until every gateway Pod that takes traffic has loaded this split. Those that are on their way out must be gone, or
        have loaded it.

        at_least_one: whether no Pod at all is not enough.
        Raises PlatformError, naming the Pods; ChangedMeanwhileError where one has loaded a later split.
        """
        poked: set[str] = set()
        pending = ["no gateway Pod is ready"]

        def done() -> bool:
            nonlocal pending
            pods = self.poke(traffic, poked)
            pending = [f"{pod.name} has {found}" for pod in pods if (found := self._differs(pod, traffic))]
            if at_least_one and not any(pod.ready and not pod.ending for pod in pods):
                pending.append("no gateway Pod is ready")
            return not pending

        message = f"waiting for the gateways of {self._service} to take up the split"
        if not self._context.wait_until(done, timeout_seconds, message, _POLL_SECONDS):
            raise PlatformError(
                f"the split (generation {traffic.generation}) is not taken up everywhere within {timeout_seconds:g} s: "
                + "; ".join(pending)
            )

    def await_servers(self, track: str, count: int = 1, timeout_seconds: float = CONFIRM_SECONDS) -> None:
        """Waits until every gateway Pod knows so many healthy servers of the track. A name that was not there a moment ago stays so in the
        caches of name servers for a while, and each gateway asks by itself.

        Raises PlatformError, naming the Pods.
        """
        pending: list[str] = []

        def done() -> bool:
            nonlocal pending
            pending = [pod.name for pod in self._pods() if pod.ready and not pod.ending and self._healthy(pod, track) < count]
            return not pending

        message = f"waiting for the gateways of {self._service} to find the servers of {track}"
        if not self._context.wait_until(done, timeout_seconds, message, _POLL_SECONDS):
            least = f"{count} healthy servers of {track} are" if count > 1 else f"no healthy server of {track} is"
            raise PlatformError(f"{least} {'not ' if count > 1 else ''}known to {', '.join(pending)} within {timeout_seconds:g} s")

    def _healthy(self, pod: Pod, track: str) -> int:
        reply = self._cluster.call_pod(self._namespace, pod.name, STATUS_PORT, envoy.STATS_PATH, query=envoy.HEALTH_QUERY)
        return envoy.healthy_servers(reply.body, track) if reply is not None and reply.status == 200 else 0

    def _differs(self, pod: Pod, traffic: Traffic) -> str:
        """What a Pod has loaded instead; empty where it has this split, or takes no traffic."""
        if not pod.ready and not pod.ending:
            return ""  # it reads the newest ConfigMap when it starts, and was poked
        reply = self._cluster.call_pod(self._namespace, pod.name, STATUS_PORT, envoy.ROUTES_PATH, query=envoy.ROUTES_QUERY)
        if reply is None or reply.status != 200:
            return "" if pod.ending else "not answered"
        loaded = envoy.generations(reply.body)
        if any(generation > traffic.generation for generation in loaded):
            raise ChangedMeanwhileError(f"somebody else changed the split of {self._service}: {pod.name} has loaded a later one")
        return "" if loaded == {traffic.generation} else f"generation {', '.join(map(str, sorted(loaded))) or '(none)'}"

    def observe(self) -> Tally:
        """Adds what was counted since the last call. The first call is where counting starts."""
        pods = self._pods()
        for pod in pods:
            reply = self._cluster.call_pod(self._namespace, pod.name, STATUS_PORT, envoy.STATS_PATH, query=envoy.STATS_QUERY)
            if reply is not None and reply.status == 200:
                # A Pod that came up since has counted nothing else; one that was only silent may have.
                new = self._old is not None and pod.uid not in self._old
                self.tally = self.tally.observe(pod.uid, envoy.snapshot(reply.body), from_zero=new)
        if self._old is None:
            self._old = frozenset(pod.uid for pod in pods)
        return self.tally

    def _pods(self) -> list[Pod]:
        return self._cluster.pods(self._namespace, self._selector)


def take_back(traffic_map: TrafficMap, context: Context, reasons: tuple[str, ...], digest: str = "") -> Traffic:
    """Stable 100 %, confirmed. Raises IsthmusError; the split is written first."""
    traffic = traffic_map.write(lambda old: old.split(0, 0, "rolled_back", digest or old.digest, reasons))
    Gateways(traffic_map, context).confirm(traffic, at_least_one=False)
    return traffic
