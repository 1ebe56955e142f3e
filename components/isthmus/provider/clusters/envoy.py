"""What a gateway's Envoy says about itself, read. Pure."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from isthmus.canary.evidence import Counters, Snapshot
from isthmus.names import TRACKS

# Requests, what clients saw fail, and times, per track; gRPC's status codes where the filter `grpc_stats` counts them.
STATS_PATH: Final = "stats"
STATS_QUERY: Final = {
    "format": "json",
    "histogram_buckets": "detailed",
    "filter": r"^cluster\.(stable|canary)-(rest|grpc)\.(upstream_rq_(completed|4xx|5xx|time|(active|pending)_overflow)$|grpc\.)",
}
HEALTH_QUERY: Final = {"format": "json", "filter": r"^cluster\.(stable|canary)-(rest|grpc)\.membership_healthy$"}
ROUTES_PATH: Final = "config_dump"
ROUTES_QUERY: Final = {"resource": "dynamic_route_configs"}

_COUNTER: Final = re.compile(r"cluster\.(\w+)-(rest|grpc)\.upstream_rq_(completed|4xx|5xx|time|(?:active|pending)_overflow)")
_GRPC_STATUS: Final = re.compile(r"cluster\.(\w+)-grpc\.grpc\.(?:[^.]+(?:\.[^.]+)*\.)?(\d+)")
_GENERATION: Final = re.compile(r"traffic-(\d+)")
# What HTTP would call 5xx and 4xx; a gRPC error comes with HTTP's 200.
_GRPC_ERRORS: Final = frozenset({2, 4, 12, 13, 14, 15})
_GRPC_REFUSED: Final = frozenset({3, 5, 6, 7, 8, 9, 10, 11, 16})
# Envoy counts whole milliseconds: what took 12.9 ms is counted as 12.
_RESOLUTION_MS: Final = 1.0


def snapshot(body: bytes) -> Snapshot:
    """Counters by track, from the reply to STATS_PATH with STATS_QUERY. Raises ValueError."""
    counts: Counter[tuple[str, str]] = Counter()
    times: dict[str, dict[float, int]] = {track: {} for track in TRACKS}
    for item in json.loads(body).get("stats", ()):
        if "histograms" in item:
            _add_times(item["histograms"], times)
        else:
            _add_count(str(item["name"]), int(item["value"]), counts)
    return {track: _counters(track, counts, times[track]) for track in TRACKS}


def _counters(track: str, counts: Mapping[tuple[str, str], int], times: Mapping[float, int]) -> Counters:
    # What Envoy itself answers to a gRPC client is both a 503 and a status 14: the larger number has all of them.
    failed, refused = (
        counts[track, f"rest {kind}"] + max(counts[track, f"grpc {kind}"], counts[track, f"status {kind}"]) for kind in ("5xx", "4xx")
    )
    # What a circuit breaker turned away (a storm of devices, say) never came to the release: a 503 that says nothing of it.
    away = sum(counts[track, f"{protocol} {kind}_overflow"] for protocol in ("rest", "grpc") for kind in ("active", "pending"))
    completed = counts[track, "rest completed"] + counts[track, "grpc completed"]
    return Counters(max(completed - away, 0), max(failed - away, 0), refused, times)


def _add_count(name: str, value: int, counts: Counter[tuple[str, str]]) -> None:
    if match := _COUNTER.fullmatch(name):
        counts[match[1], f"{match[2]} {match[3]}"] += value
    elif match := _GRPC_STATUS.fullmatch(name):
        kind = "5xx" if int(match[2]) in _GRPC_ERRORS else "4xx" if int(match[2]) in _GRPC_REFUSED else ""
        counts[match[1], f"status {kind}"] += value


def _add_times(histograms: Any, times: dict[str, dict[float, int]]) -> None:
    for histogram in histograms.get("details", ()):
        match = _COUNTER.fullmatch(str(histogram["name"]))
        if match is None or match[1] not in times:
            continue
        found = times[match[1]]
        for part in histogram.get("totals", ()):
            edge = float(part["lower_bound"]) + max(float(part["width"]), _RESOLUTION_MS)
            found[edge] = found.get(edge, 0) + int(part["count"])


def healthy_servers(body: bytes, track: str) -> int:
    """How many servers of a track an Envoy would send requests to, REST and gRPC, from the reply to STATS_PATH with HEALTH_QUERY.

    Raises ValueError.
    """
    found = {str(item["name"]): int(item["value"]) for item in json.loads(body).get("stats", ()) if "value" in item}
    return min(found.get(f"cluster.{track}-{protocol}.membership_healthy", 0) for protocol in ("rest", "grpc"))


def generations(body: bytes) -> frozenset[int]:
    """Which generations of the split an Envoy has loaded, from the reply to ROUTES_PATH with ROUTES_QUERY. Raises ValueError."""
    configs = json.loads(body).get("configs", ())
    hosts = [host.get("name", "") for config in configs for host in config.get("route_config", {}).get("virtual_hosts", ())]
    return frozenset(int(match[1]) for name in hosts if (match := _GENERATION.fullmatch(name)))
