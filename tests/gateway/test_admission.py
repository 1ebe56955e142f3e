"""Devices' requests are told apart, and turned away first; nobody else's wait for them."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from isthmus import gateway as g
from isthmus.gateway.admission import PRIORITY, with_devices

DEVICE = {g.DEVICE_HEADER: "device"}
PREDICT = "/v1/models/digits:predict"


def files(**options):
    gateway = g.Gateway(
        node="gateway",
        model_name="digits",
        tracks=(g.Track("stable", 1, (g.Server("a", 1, 2),)), g.Track("canary", 2, (g.Server("b", 3, 4),))),
        rest_port=5,
        grpc_port=6,
        admin_port=7,
        directory="/live",
        traffic_directory="/traffic",
        options=g.GatewayOptions(**options),
    )
    traffic = g.Traffic({"stable": 90, "canary": 10}, mirror_to="canary", mirror_percent=5)
    return {**g.static_files(gateway), **g.live_files(gateway), **g.routes_of(gateway, traffic)}


def test_without_devices_nothing_of_them_is_in_any_file():
    for name, text in files().items():
        assert PRIORITY not in text, name
        assert g.DEVICE_HEADER not in text, name
        assert "retry-after" not in text, name


def test_what_is_added_for_devices_is_all_that_changes():
    plain, changed = files(), {name: json.loads(text) for name, text in files(device_requests=3).items()}
    for cluster in changed["cds.json"]["resources"]:
        usual, devices = cluster["circuit_breakers"]["thresholds"]
        assert devices == {**usual, "priority": "HIGH", "max_requests": 3, "max_pending_requests": 3}
        cluster["circuit_breakers"]["thresholds"] = [usual]
    for listener in changed["lds.json"]["resources"]:
        mappers = listener["filter_chains"][0]["filters"][0]["typed_config"]["local_reply_config"]["mappers"]
        assert mappers.pop(0)["headers_to_add"][0]["header"] == {"key": "retry-after", "value": str(g.RETRY_AFTER_SECONDS)}
    (host,) = changed["rds.json"]["resources"][0]["virtual_hosts"]
    host["routes"] = [it for it in host["routes"] if it.get("route", {}).get("priority") is None]
    assert changed == {name: json.loads(text) for name, text in plain.items()}


def test_each_route_to_servers_has_one_for_devices_right_before_it():
    routes = [
        {"match": {"prefix": "/a", "headers": [{"name": "x"}]}, "route": {"cluster": "c"}},
        {"match": {"prefix": "/"}, "redirect": {}},
    ]
    devices, usual, other = with_devices(routes)
    assert [usual, other] == routes
    assert devices["match"] == {"prefix": "/a", "headers": [{"name": "x"}, {"name": g.DEVICE_HEADER, "present_match": True}]}
    assert devices["route"] == {"cluster": "c", "priority": "HIGH"}


@pytest.fixture
def held(make_backend):
    """A server that answers when it is told to: nothing here depends on how fast anything is."""
    backend = make_backend("one")
    backend.hold()
    return backend


@pytest.fixture
def make(make_envoy, track, held):
    return lambda **options: make_envoy(track("stable", held), options=g.GatewayOptions(workers=1, try_timeout_seconds=25, **options))


def ask(envoy, **headers):
    return envoy.predict(headers=headers)


def storm(envoy, pool, eventually, devices=40, admitted=3):
    """Devices' requests at once. Those that were turned away, and those that wait at the server."""
    asked = [pool.submit(ask, envoy, **DEVICE) for _ in range(devices)]
    eventually(lambda: sum(it.done() for it in asked) == devices - admitted, "the others were turned away")
    return [it.result() for it in asked if it.done()], [it for it in asked if not it.done()]


@pytest.mark.slow
def test_a_storm_of_devices_takes_its_places_and_no_other(make, held, eventually):
    envoy = make(device_requests=3)
    with ThreadPoolExecutor(60) as pool:
        away, inside = storm(envoy, pool, eventually)
        assert len(held.requests) == 3  # the others never came there
        assert {it.status_code for it in away} == {503}
        assert {it.headers["retry-after"] for it in away} == {str(g.RETRY_AFTER_SECONDS)}
        assert {it.json()["error"] for it in away} == {"The service has no room for more requests of devices: ask again later"}
        # The server is held by devices: everybody else comes to it all the same, beside them and not behind those turned away.
        others = [pool.submit(ask, envoy) for _ in range(10)]
        eventually(lambda: len(held.requests) == 13, "all others are at the server")
        assert Counter(g.DEVICE_HEADER in it.headers for it in held.requests) == {True: 3, False: 10}
        # Full is full, over connections that are there: at once, while nothing has been answered.
        again = [ask(envoy, **DEVICE) for _ in range(20)]
        assert {it.status_code for it in again} == {503}
        assert not any(it.done() for it in [*others, *inside])
        held.release()
        assert {it.result().status_code for it in [*others, *inside]} == {200}
        assert ask(envoy, **DEVICE).status_code == 200  # there is room again
    assert envoy.stat("cluster.stable-rest.circuit_breakers.high.rq_open") == 0


@pytest.mark.slow
def test_without_admission_a_storm_is_at_the_server_before_all_others(make, held, eventually):
    envoy = make()
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(ask, envoy, **DEVICE) for _ in range(40)]
        eventually(lambda: len(held.requests) == 40, "all of it is there")
        other = pool.submit(ask, envoy)
        eventually(lambda: len(held.requests) == 41, "behind all of them")
        held.release()
        assert {it.result().status_code for it in [*asked, other]} == {200}


@pytest.mark.slow
def test_who_says_device_and_is_none_takes_devices_places_alone(make, held, eventually):
    envoy = make(device_requests=2)
    with ThreadPoolExecutor(60) as pool:
        for value in ("anything", "", "device, device"):
            asked = [pool.submit(ask, envoy, **{g.DEVICE_HEADER: value}) for _ in range(10)]
            eventually(lambda asked=asked: sum(it.done() for it in asked) == 8, f"{value!r} gets no more than devices do")
            assert pool.submit(requests.get, envoy.status + g.READY_PATH, timeout=10).result().ok
            before = len(held.requests)
            other = pool.submit(ask, envoy)
            eventually(lambda before=before: len(held.requests) == before + 1, "others are let in")
            held.release()
            assert {it.result().status_code for it in [*asked, other]} == {200, 503}
            held.hold()


@pytest.mark.slow
def test_a_device_that_does_not_say_so_is_as_anybody(make, held, eventually):
    envoy = make(device_requests=2)
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(ask, envoy) for _ in range(10)]
        eventually(lambda: len(held.requests) == 10, "all are there")
        held.release()
        assert {it.result().status_code for it in asked} == {200}


@pytest.mark.slow
def test_devices_turned_away_are_no_fault_of_the_servers(make, held, eventually):
    """Neither is asked again, nor ejected, nor counted among the answers that servers failed."""
    envoy = make(device_requests=3)
    with ThreadPoolExecutor(60) as pool:
        away, inside = storm(envoy, pool, eventually)
        stats = envoy.stats()
        assert stats.get("cluster.stable-rest.upstream_rq_retry", 0) == 0
        assert stats.get("cluster.stable-rest.outlier_detection.ejections_active", 0) == 0
        # What the canary's gate and the alerts take off, by these names.
        assert stats["cluster.stable-rest.upstream_rq_5xx"] == stats["cluster.stable-rest.upstream_rq_active_overflow"] == 37
        shown = requests.get(envoy.status + "/stats/prometheus", timeout=10).text
        devices = 'envoy_vhost_route_upstream_rq_xx{envoy_response_code_class="5",envoy_virtual_host="traffic-1",envoy_route="devices"} 37'
        assert devices in shown.splitlines()
        held.release()
        [it.result() for it in inside]
    assert len(away) == 37


@pytest.mark.slow
def test_grpc_has_places_of_its_own(make, held):
    envoy = make(device_requests=1)
    with ThreadPoolExecutor(4) as pool:
        inside = pool.submit(ask, envoy, **DEVICE)
        assert envoy.call(metadata=DEVICE) == b"one"
        held.release()
        assert inside.result().status_code == 200
