"""The same requests to both tracks, through the API server: straight to a server Pod of each, which involves no gateway and no key.

Where network policies keep the API server away from the servers, through a gateway Pod, which every client may reach.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus.apiserver.connection import Reply
from isthmus.canary.drift import Answer, Drift, Kind
from isthmus.names import CANARY, REST_PORT, SERVER, STABLE, TRACK_LABEL, model_path, service_labels
from isthmus.provider.clusters.client import Pod
from isthmus.provider.clusters.traffic import Traffic, TrafficMap

_LATER: Final = frozenset({429, 502, 503, 504})
# A gateway that wants a key, or does not know the label yet, says nothing about a release.
_NOT_LET_IN: Final = _LATER | {401, 403, 404}


@dataclass(frozen=True)
class Door:
    """How a gateway Pod is asked. api_key: of a client; empty: none."""

    tls: bool = False
    api_key: str = ""


def probe(traffic_map: TrafficMap, traffic: Traffic, probes: Sequence[str], door: Door, kind: Kind) -> Drift | None:
    """How the answers to all probes differ; None where a track does not answer now."""
    asks: tuple[Callable[[str, bytes], Answer | None], ...] = (
        lambda track, body: _ask_server(traffic_map, traffic, track, body),
        lambda track, body: _ask_gateway(traffic_map, traffic, track, body, door),
    )
    for ask in asks:
        drift = _compare(ask, probes, kind)
        if drift is not None:
            return drift
    return None


def _compare(ask: Callable[[str, bytes], Answer | None], probes: Sequence[str], kind: Kind) -> Drift | None:
    from isthmus.canary.comparing import compare

    total = Drift()
    for body in probes:
        stable, canary = ask(STABLE, body.encode()), ask(CANARY, body.encode())
        if stable is None or canary is None:
            return None
        total += compare(stable, canary, kind)
    return total


def _ask_server(traffic_map: TrafficMap, traffic: Traffic, track: str, body: bytes) -> Answer | None:
    path = f"{model_path(traffic.model_name)[1:]}/versions/{traffic.tracks[track].version}:predict"
    for pod in _ready(traffic_map, {**service_labels(traffic_map.service, SERVER), TRACK_LABEL: track}):
        reply = traffic_map.cluster.call_pod(traffic_map.namespace, pod.name, REST_PORT, path, body=body)
        if reply is not None and reply.status not in _LATER:
            return _answer(reply)
    return None


def _ask_gateway(traffic_map: TrafficMap, traffic: Traffic, track: str, body: bytes, door: Door) -> Answer | None:
    from isthmus.gateway import KEY_HEADER

    path = f"{model_path(traffic.model_name)[1:]}/labels/{track}:predict"
    headers = {KEY_HEADER: door.api_key} if door.api_key else {}
    for pod in _ready(traffic_map, service_labels(traffic_map.service, "gateway")):
        reply = traffic_map.cluster.call_pod(traffic_map.namespace, pod.name, REST_PORT, path, body=body, headers=headers, tls=door.tls)
        if reply is not None and reply.status not in _NOT_LET_IN:
            return _answer(reply)
    return None


def _ready(traffic_map: TrafficMap, selector: dict[str, str]) -> list[Pod]:
    return [pod for pod in traffic_map.cluster.pods(traffic_map.namespace, selector) if pod.ready and not pod.ending]


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, reply.body)
