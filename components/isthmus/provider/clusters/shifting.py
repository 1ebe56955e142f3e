"""All requests to one track: first it gets the servers that they need, then the requests; then the other may have fewer."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from isthmus.apiserver.kubeconfig import Access
from isthmus.errors import IsthmusError, PlatformError
from isthmus.names import STABLE
from isthmus.plugin.handler import Context, StoppedWaitingError
from isthmus.provider.clusters.capacity import READY_SECONDS, Capacity, needed
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.gateways import Gateways, take_back
from isthmus.provider.clusters.traffic import Traffic, TrafficMap

_LET_GO_SECONDS: Final = 30.0


class Room:
    """The servers of a service's tracks while its traffic moves."""

    def __init__(self, traffic_map: TrafficMap, context: Context, ready_seconds: float = READY_SECONDS) -> None:
        self._gateways, self._context, self._ready_seconds = Gateways(traffic_map, context), context, ready_seconds
        self.capacity = Capacity(traffic_map.cluster, traffic_map.namespace, traffic_map.service, context)

    def make(self, track: str, traffic: Traffic, enough: int = 0) -> None:
        """Gives a track the servers that all requests need, as the traffic is shared out now; every gateway knows them then.

        enough: how many servers of the other track have answered all requests a moment ago; 0: not known. Where it has no more by
        now, so many will do. Raises PlatformError where they do not get ready in time.
        """
        wanted: Counter[str] = Counter()
        for pool in self.capacity.pools():
            wanted[pool.track] += pool.wanted
        replicas = needed(wanted, traffic.percents)
        if max((count for name, count in wanted.items() if name != track), default=0) <= enough:
            replicas = min(replicas, enough)
        if replicas:
            replicas = self.capacity.raise_to(track, replicas)
            self._context.progress(f"{track} needs {replicas} servers for all requests")
            self.capacity.await_track(track, replicas, self._ready_seconds)
        self._gateways.await_servers(track, max(1, replicas))

    def let_go(self) -> None:
        """The autoscalers do as their program says again: also after a Ctrl-C, or when the user's time is up."""
        context = Context(self._context.urn, timeout_seconds=_LET_GO_SECONDS, progress=self._context.progress)
        try:
            self.capacity.within(context).let_go()
        except IsthmusError as error:
            self._context.warn(f"the autoscalers still keep more servers than they were told: {error}. The next `pulumi up` tells them")


@contextmanager
def room(traffic_map: TrafficMap, context: Context, ready_seconds: float = READY_SECONDS) -> Iterator[Room]:
    """A `Room` that is let go of in the end, whatever happens."""
    found = Room(traffic_map, context, ready_seconds)
    try:
        yield found
    finally:
        found.let_go()


def shift(
    traffic_map: TrafficMap, context: Context, track: str, change: Callable[[Traffic], Traffic], ready_seconds: float = READY_SECONDS
) -> Traffic:
    """Sends all requests to a track by a change of the split. Raises IsthmusError; where servers are missing nothing is changed."""
    with room(traffic_map, context, ready_seconds) as found:
        try:
            found.make(track, traffic_map.read_or_fail())
        except StoppedWaitingError:
            raise
        except PlatformError as error:
            if track != STABLE:
                raise
            # Also what a `destroy` waits for, in a cluster that will never have these servers.
            by_hand = "`isthmus rollback --at-once`"
            raise PlatformError(f"{error}. Or send the traffic back to the servers that there are: {by_hand}") from None
        traffic = traffic_map.write(change)
        Gateways(traffic_map, context).confirm(traffic, at_least_one=False)
        found.capacity.await_notice(track)
    return traffic


def rollback(
    access: Access,
    namespace: str,
    service: str,
    progress: Callable[[str], None] = lambda _: None,
    owners: Sequence[str] = (),
    *,
    at_once: bool = False,
) -> Traffic:
    """Sends all traffic to the stable release, and waits until every gateway does. `isthmus rollback`.

    Before that the stable release gets the servers that all requests need. at_once: it does with those that it has. Nothing else
    changes: the canary's servers stay, and `pulumi up` starts no new gate unless its inputs change. Raises PlatformError.
    """
    context = Context("", progress=progress)
    traffic_map = TrafficMap(Cluster(access, context), namespace, service, owners)
    reasons = ("rolled back by hand",)
    if at_once:
        return take_back(traffic_map, context, reasons)
    return shift(traffic_map, context, STABLE, lambda old: old.split(0, 0, "rolled_back", old.digest, reasons))
