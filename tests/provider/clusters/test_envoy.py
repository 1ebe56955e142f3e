"""Reading what an Envoy says; the shapes were recorded from Envoy 1.40. That they are still so, the tests of CanaryGate show."""

import json
from typing import Any

from isthmus.canary.evidence import Counters
from isthmus.names import CANARY, STABLE
from isthmus.provider.clusters.envoy import generations, snapshot


def stats(counts: dict[str, int], histograms: list[dict[str, Any]]) -> bytes:
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in counts.items()]
    return json.dumps({"stats": [*found, {"histograms": {"supported_percentiles": [0, 100], "details": histograms}}]}).encode()


def test_rest_and_grpc_of_a_track_are_one_and_other_numbers_are_none() -> None:
    counts = {
        "cluster.canary-rest.upstream_rq_completed": 100,
        "cluster.canary-rest.upstream_rq_5xx": 3,
        "cluster.canary-rest.upstream_rq_4xx": 2,
        "cluster.canary-grpc.upstream_rq_completed": 50,
        "cluster.canary-grpc.upstream_rq_5xx": 2,
        "cluster.canary-grpc.grpc.0": 40,
        "cluster.canary-grpc.grpc.13": 6,
        "cluster.canary-grpc.grpc.tensorflow.serving.PredictionService.Predict.3": 4,
        "cluster.canary-rest.retry.upstream_rq_5xx": 99,
        "cluster.other-rest.upstream_rq_completed": 99,
        "cluster.stable-rest.upstream_rq_completed": 7,
    }
    found = snapshot(stats(counts, []))
    assert found[CANARY] == Counters(150, 9, 6)
    assert found[STABLE] == Counters(7)


def test_what_a_circuit_breaker_turned_away_is_no_failure_of_the_release() -> None:
    counts = {
        "cluster.canary-rest.upstream_rq_completed": 100,
        "cluster.canary-rest.upstream_rq_5xx": 43,
        "cluster.canary-rest.upstream_rq_active_overflow": 37,
        "cluster.canary-rest.upstream_rq_pending_overflow": 3,
        "cluster.canary-grpc.upstream_rq_completed": 20,
        "cluster.canary-grpc.upstream_rq_5xx": 5,
        "cluster.canary-grpc.grpc.14": 6,
        "cluster.canary-grpc.upstream_rq_active_overflow": 5,
    }
    assert snapshot(stats(counts, []))[CANARY] == Counters(75, 4)


def test_a_time_counts_as_the_upper_edge_of_its_bin_since_envoy_cuts_off_parts_of_milliseconds() -> None:
    parts = [
        {"lower_bound": 0, "width": 0, "count": 1},
        {"lower_bound": 5, "width": 0.1, "count": 2},
        {"lower_bound": 12, "width": 1, "count": 3},
        {"lower_bound": 120, "width": 10, "count": 4},
    ]
    found = snapshot(stats({}, [{"name": "cluster.canary-rest.upstream_rq_time", "totals": parts, "intervals": []}]))
    assert found[CANARY].times == {1.0: 1, 6.0: 2, 13.0: 3, 130.0: 4}


def test_the_generation_is_the_virtual_hosts_name() -> None:
    body = json.dumps({"configs": [{"route_config": {"name": "traffic", "virtual_hosts": [{"name": "traffic-17"}]}}]}).encode()
    assert generations(body) == {17}
    assert generations(b"{}") == frozenset()
