"""Whoever gets all requests has the servers for them first, whatever the autoscaler thinks of it meanwhile."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from isthmus.provider.clusters.capacity import BEFORE_ANNOTATION

pytestmark = [pytest.mark.alone, pytest.mark.lane("second cluster"), pytest.mark.timeout(1200)]
NAMESPACE = "held"
GATE = {"min_requests": 40, "deadline_seconds": 300, "max_p95_ms": 5000, "max_p95_ratio": 1000}
RATE = 15.0


@dataclass(frozen=True)
class Look:
    """percent: of the requests that the canary gets. ready: servers by track. held: tracks whose autoscaler must keep more."""

    percent: int
    ready: dict[str, int]
    held: frozenset[str]


@contextmanager
def watched(place):
    """Looks at the split and at both releases, again and again; at the servers first."""
    seen, over = [], threading.Event()

    def look():
        while not over.wait(0.3):
            ready = {it["metadata"]["name"]: it["status"].get("readyReplicas", 0) for it in place.get("deployments", NAMESPACE)}
            scalers = place.get("hpa", NAMESPACE)
            held = {it["metadata"]["name"] for it in scalers if BEFORE_ANNOTATION in (it["metadata"].get("annotations") or {})}
            split = json.loads(place.get("configmap", NAMESPACE, f"{NAMESPACE}-traffic")["metadata"]["annotations"]["isthmus.dev/traffic"])
            names = {track: f"{NAMESPACE}-{track}" for track in ("stable", "canary")}
            servers = {track: ready.get(name, 0) for track, name in names.items()}
            seen.append(Look(split["canary_percent"], servers, frozenset(track for track, name in names.items() if name in held)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(60)


def keep(place, eventually, track, replicas):
    """At least so many servers, as a load would have the autoscaler keep."""
    patch = json.dumps({"spec": {"minReplicas": replicas}})
    place.kubectl("patch", "hpa", f"{NAMESPACE}-{track}", "-n", NAMESPACE, "--type=merge", "-p", patch)
    deployment = f"{NAMESPACE}-{track}"
    eventually(lambda: place.get("deployment", NAMESPACE, deployment)["status"].get("readyReplicas", 0) >= replicas, 240)


def fewest_that_count(seen, percent, track):
    """Of the servers of a track that has all requests: at first, and as long as its autoscaler is held to them. Then that does as it
    thinks, and this load asks for one server."""
    looks = [look for look in seen if look.percent == percent]
    return min(look.ready[track] for look in [looks[0], *(look for look in looks if track in look.held)])


def test_whoever_gets_all_requests_has_the_servers_for_them_first_and_both_ways(make_project, bucket, place, body, eventually):
    stack = make_project()
    arguments = place.arguments(bucket, NAMESPACE, kubernetes={"scale_down_seconds": 15})
    content = {**arguments, "min_replicas": 1, "max_replicas": 5, "requests_per_second": 10}
    stack.configure(services={NAMESPACE: content})
    done = stack.up()
    assert done.code == 0, done
    keep(place, eventually, "stable", 3)
    with place.load(place.url(NAMESPACE), body, RATE, 1100) as load:
        stack.configure(services={NAMESPACE: {**content, "canary": {"version": 2}, "canary_percent": 30, "canary_gate": GATE}})
        with watched(place) as seen:
            done = stack.up()
        assert done.code == 0, done
        assert min(look.ready["stable"] for look in seen if look.percent == 30) >= 3, seen
        assert fewest_that_count(seen, 100, "canary") >= 3, seen
        # The stable release's autoscaler sees no load any more; the canary's sees it all.
        keep(place, eventually, "canary", 3)
        keep(place, eventually, "stable", 1)
        stack.configure(services={NAMESPACE: {**content, "version": 2}})
        with watched(place) as seen:
            done = stack.up()
        assert done.code == 0, done
        assert fewest_that_count(seen, 0, "stable") >= 3, seen
        found = load.stop()
    assert found["failures"] == {}, found
