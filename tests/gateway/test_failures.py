"""What clients notice when servers die, hang, fail or are replaced, and when a gateway leaves."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
import requests
from toolchain.testing import patience

from isthmus import gateway as g

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/digits:predict"
CALL = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def pair(make_backend):
    return make_backend("one"), make_backend("two")


@pytest.fixture
def make(make_envoy, track, pair):
    """Envoys in front of the pair."""
    return lambda **options: make_envoy(track("stable", *pair), balancing="round_robin", options=g.GatewayOptions(workers=1, **options))


@pytest.fixture
def envoy(make):
    return make()


def without_retries(envoy, eventually) -> None:
    """The broken variant."""
    path = envoy.directory / "traffic" / "rds.json"
    content = json.loads(path.read_text())
    (host,) = content["resources"][0]["virtual_hosts"]
    host["name"] = "broken"
    for route in host["routes"]:
        route.get("route", {}).pop("retry_policy", None)
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").rename(path)
    eventually(lambda: '"broken"' in envoy.routes(), "the broken variant is taken up")


def test_a_killed_server_loses_no_request(envoy, pair, open_loop, eventually):
    one, two = pair
    one.delay_seconds = two.delay_seconds = 0.05
    with open_loop(envoy.rest + PREDICT) as client:
        one.kill()
        client.more(300)
        one.revive()
        one.requests.clear()
        eventually(lambda: one.requests, "it is back")
    assert client.failures == []
    assert set(client.answers) == {"one", "two"}


def test_a_second_gateway_gets_no_connection_of_the_first_ones(make_envoy, track, pair, eventually):
    first, second = (make_envoy(track("stable", backend), options=g.GatewayOptions(workers=1)) for backend in pair)
    taken = replace(second.gateway, rest_port=first.gateway.rest_port, grpc_port=first.gateway.grpc_port)
    for name, text in g.live_files(taken).items():
        place = second.directory / "live" / name
        place.with_suffix(".new").write_text(text)
        place.with_suffix(".new").rename(place)
    eventually(lambda: second.stat("listener_manager.lds.update_rejected"), "it is refused")
    assert "Address already in use" in second.log.read_text()
    assert {first.predict().text for _ in range(40)} == {first.predict().text}
    assert not pair[1].requests


def test_without_retries_a_killed_server_loses_requests(envoy, pair, open_loop, eventually):
    one, two = pair
    one.delay_seconds = two.delay_seconds = 0.05
    without_retries(envoy, eventually)
    with open_loop(envoy.rest + PREDICT) as client:
        one.kill()
        eventually(lambda: client.failures, "requests are lost")


def test_requests_at_a_server_that_hangs_are_answered_by_another(make, pair):
    envoy = make(timeout_seconds=20, try_timeout_seconds=1)
    one, _ = pair
    one.hung = True
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: envoy.predict(), range(4)))
    assert [answer.json().get("server") for answer in answers] == ["two"] * 4


def test_a_server_without_the_pinned_version_gets_nothing(envoy, pair, eventually):
    one, _ = pair
    one.loaded = False
    eventually(lambda: {envoy.predict().json()["server"] for _ in range(10)} == {"two"}, "it is out")
    eventually(lambda: {envoy.call() for _ in range(4)} == {b"two"}, "it is out for gRPC as well")
    one.loaded = True
    eventually(lambda: {envoy.predict().json()["server"] for _ in range(10)} == {"one", "two"}, "it is in again")


def test_a_server_whose_predictions_fail_is_ejected(envoy, pair):
    one, _ = pair
    one.status = 503
    answers = [envoy.predict() for _ in range(20)]
    assert {answer.json()["server"] for answer in answers} == {"two"}
    envoy.wait("cluster.stable-rest.outlier_detection.ejections_active", 1)
    assert envoy.stat("cluster.stable-rest.upstream_rq_retry_success") >= 3
    one.requests.clear()
    assert {envoy.predict().json()["server"] for _ in range(10)} == {"two"}
    assert one.requests == []


def test_half_of_the_servers_serve_whatever_happens(envoy, pair):
    one, two = pair
    one.status = two.status = 500
    assert {envoy.predict().status_code for _ in range(40)} == {500}
    assert envoy.stat("cluster.stable-rest.outlier_detection.ejections_active") <= 1


def test_without_a_healthy_server_the_gateway_says_so(envoy, pair, eventually):
    for backend in pair:
        backend.loaded = False
    envoy.wait("cluster.stable-rest.membership_healthy", 0)
    eventually(lambda: envoy.predict().status_code == 503, "Envoy's threads know as well")
    assert envoy.predict().json() == {"error": "no healthy upstream"}
    assert requests.get(envoy.rest + "/healthz", timeout=10).status_code == 200
    assert requests.get(envoy.rest + "/readyz", timeout=10).status_code == 503


def test_a_server_behind_a_name_is_asked_where_the_gateways_own_check_finds_none_healthy(make_envoy, make_backend, eventually):
    backend = make_backend("named", 4)
    envoy = make_envoy(g.Track("stable", 4, (g.Server("localhost", backend.port, backend.grpc_port),), resolve=True))
    backend.loaded = False
    envoy.wait("cluster.stable-rest.membership_healthy", 0)
    eventually(lambda: envoy.predict() and envoy.stat("cluster.stable-rest.lb_healthy_panic"), "Envoy's threads know as well")
    assert envoy.predict().json()["server"] == "named"


@pytest.mark.parametrize(("percent", "at_most"), [(100, None), (20, 1.4)])
def test_retries_add_no_more_load_than_their_budget(make, pair, percent, at_most):
    envoy = make(max_retries_percent=percent, min_retries=3)
    for backend in pair:
        backend.status, backend.delay_seconds = 503, 0.5
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: envoy.predict().status_code, range(120)))
    assert set(answers) == {503}
    load = sum(len(backend.requests) for backend in pair) / len(answers)
    if at_most is None:
        assert load > 1.8  # what a budget is for
    else:
        assert 1 < load < at_most


def test_more_requests_than_the_servers_may_have_are_refused_at_once(make, pair):
    envoy = make(max_requests=2, max_pending_requests=1)
    for backend in pair:
        backend.delay_seconds = 1.0
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: envoy.predict(), range(12)))
    found = {answer.status_code for answer in answers}
    assert found == {200, 503}
    assert all("overflow" in answer.json()["error"] for answer in answers if answer.status_code == 503)


def test_more_connections_than_allowed_are_refused_but_probes_get_through(make):
    envoy = make(max_connections=3)
    port = envoy.gateway.rest_port
    active = f"listener.127.0.0.1_{port}.downstream_cx_active"
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    try:
        envoy.wait(active, 3)
        with pytest.raises(requests.ConnectionError):
            requests.get(envoy.rest + "/healthz", timeout=10)
        assert requests.get(envoy.status + "/ready", timeout=10).status_code == 200
    finally:
        for it in held:
            it.close()
    envoy.wait(active, 0)
    assert envoy.predict().status_code == 200


def test_a_request_that_takes_too_long_ends_with_504(make, pair):
    envoy = make(timeout_seconds=0.5)
    for backend in pair:
        backend.delay_seconds = 5.0
    answer = envoy.predict()
    assert (answer.status_code, answer.json()) == (504, {"error": "upstream request timeout"})
    assert sum(len(backend.requests) for backend in pair) <= 2  # one try for each half of the time


def test_other_servers_and_listeners_take_over_without_losing_a_request(envoy, pair, make_backend, track, open_loop):
    three = make_backend("three", 1)
    with open_loop(envoy.rest + PREDICT) as client:
        envoy.reload(tracks=(track("stable", three),))
        client.more(50)
        envoy.reload(tracks=(track("stable", *pair, three),), options=g.GatewayOptions(max_request_bytes=1000, workers=1))
        client.more(50)
    assert client.failures == []
    assert set(client.answers) == {"one", "two", "three"}
    assert envoy.predict(json={"instances": "x" * 2000}).status_code == 413


def test_connections_are_renewed_and_no_call_notices(make, open_loop):
    envoy = make(drain_seconds=1)
    with open_loop(envoy.rest + PREDICT, per_second=50) as client, grpc.insecure_channel(envoy.grpc) as channel:
        call = channel.unary_unary(CALL)
        deadline = patience.Deadline(30)
        while not deadline.over() and envoy.stat("http.grpc.downstream_cx_total") < 3:
            assert call(b"", timeout=10) in (b"one", b"two")
        assert envoy.stat("http.grpc.downstream_cx_total") >= 3
    assert client.failures == []
    assert client.connections >= 3


@pytest.mark.parametrize("patient", [False, True])
def test_a_gateway_that_leaves_in_time_loses_no_request(make, pair, service, open_loop, patient):
    for backend in pair:
        backend.delay_seconds = 0.1
    leaving, staying = (make(drain_seconds=1, timeout_seconds=20) for _ in range(2))
    entry = service(leaving.gateway.rest_port)
    with open_loop(entry.url + PREDICT, per_second=100) as client:
        entry.target = staying.gateway.rest_port
        if patient:
            start = time.monotonic()
            leaving.wait("http.rest.downstream_cx_active", 0)
            assert time.monotonic() - start < g.leave_seconds(leaving.gateway.options)
        leaving.stop()
        client.more(50)
    assert (client.failures == []) is patient
