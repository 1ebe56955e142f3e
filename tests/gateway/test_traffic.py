"""Routes, splits, weights and mirrors, asked of a running Envoy."""

import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import requests

from isthmus import gateway as g

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/digits:predict"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


@pytest.fixture(scope="module")
def stable(make_shared_backend):
    return make_shared_backend("stable", 1)


@pytest.fixture(scope="module")
def canary(make_shared_backend):
    return make_shared_backend("canary", 2)


@pytest.fixture(scope="module")
def envoy(make_shared_envoy, track, stable, canary):
    return make_shared_envoy(track("stable", stable), track("canary", canary))


def servers(envoy, number: int, **request) -> Counter[str]:
    with requests.Session() as session:
        answers = (session.post(envoy.rest + PREDICT, json={}, timeout=30, **request) for _ in range(number))
        return Counter(answer.json()["server"] for answer in answers)


def assert_share(count: int, number: int, percent: float) -> None:
    """Five standard deviations of a binomial: wrong once in two million."""
    p = percent / 100
    assert abs(count - number * p) <= 5 * math.sqrt(number * p * (1 - p)), f"{count} of {number}, not {percent} %"


@pytest.mark.parametrize(
    ("path", "server", "asked"),
    [
        ("/v1/models/digits:predict", "stable", "/v1/models/digits:predict"),
        ("/v1/models/digits", "stable", "/v1/models/digits"),
        ("/v1/models/digits/labels/canary:predict", "canary", "/v1/models/digits:predict"),
        ("/v1/models/digits/labels/stable", "stable", "/v1/models/digits"),
        ("/v1/models/digits/versions/2:predict", "canary", "/v1/models/digits/versions/2:predict"),
        ("/v1/models/digits/versions/1:classify", "stable", "/v1/models/digits/versions/1:classify"),
        # What no track has is refused by a server, in its own words.
        ("/v1/models/digits/versions/21:predict", "stable", "/v1/models/digits/versions/21:predict"),
        ("//v1/models//digits:predict", "stable", "/v1/models/digits:predict"),
        ("/v1/models/x/../digits:predict?q=1", "stable", "/v1/models/digits:predict"),
    ],
)
def test_a_path_leads_to_its_track(envoy, path, server, asked):
    connection = requests.Session()
    request = requests.Request("POST", envoy.rest + PREDICT, json={}).prepare()
    request.url = envoy.rest + path  # not normalised by the client
    answer = connection.send(request, timeout=30)
    assert (answer.status_code, answer.json()["server"], answer.json()["path"]) == (200, server, asked)
    assert answer.headers["isthmus-track"] == server


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/v1/models/digits2:predict", 404),
        ("/v1/models/digits/labels/blue:predict", 404),
        ("/monitoring/prometheus/metrics", 404),
        ("/v1/models/other", 404),
        ("/v1/models/digits%2F..%2Fother", 400),
    ],
)
def test_everything_else_is_refused_as_tensorflow_serving_would(envoy, path, status):
    answer = envoy.predict(path)
    assert answer.status_code == status
    if status == 404:
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["error"]
        assert answer.json()["error"]


def test_a_header_names_the_track(envoy, stable, canary):
    assert servers(envoy, 5, headers={"isthmus-track": "canary"}) == {"canary": 5}
    assert servers(envoy, 5, headers={"isthmus-track": "stable"}) == {"stable": 5}
    assert envoy.predict(headers={"isthmus-track": "blue"}).status_code == 404
    assert envoy.call(metadata={"isthmus-track": "canary"}) == b"canary"
    assert envoy.call() == b"stable"
    with pytest.raises(grpc.RpcError) as error:
        envoy.call(metadata={"isthmus-track": "blue"})
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_cannot_reconfigure_the_servers(envoy):
    assert envoy.call("/tensorflow.serving.ModelService/GetModelStatus") == b"stable"
    for method in (RELOAD, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
        with pytest.raises(grpc.RpcError) as error:
            envoy.call(method)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("percent", [0, 10, 50, 100])
def test_requests_are_split_as_asked(envoy, percent):
    envoy.split(g.Traffic({"stable": 100 - percent, "canary": percent}))
    assert_share(servers(envoy, 400)["canary"], 400, percent)
    with grpc.insecure_channel(envoy.grpc) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert_share(sum(call(b"", timeout=30) == b"canary" for _ in range(200)), 200, percent)


@pytest.mark.parametrize("by", ["swap", "rename"])
def test_a_new_split_takes_effect_and_loses_no_request(envoy, open_loop, by):
    envoy.split(g.Traffic())
    with open_loop(envoy.rest + PREDICT) as client:
        for percent in (0, 100, 30, 100):
            envoy.split(g.Traffic({"stable": 100 - percent, "canary": percent}), by=by)
            client.more(40)
    assert client.failures == []
    assert set(client.answers) == {"stable", "canary"}
    assert servers(envoy, 20) == {"canary": 20}


def test_a_split_that_envoy_refuses_leaves_the_old_one(envoy, eventually):
    envoy.split(g.Traffic({"stable": 0, "canary": 100}))
    path = envoy.directory / "traffic" / "rds.json"
    bad = json.loads(path.read_text())
    bad["resources"][0]["virtual_hosts"][0]["routes"][0]["route"] = {"cluster_header": ""}
    rejected = next(name for name in envoy.stats() if name.endswith("rds.traffic.update_rejected"))
    before = envoy.stat(rejected)
    path.with_suffix(".new").write_text(json.dumps(bad))
    path.with_suffix(".new").rename(path)
    eventually(lambda: envoy.stat(rejected) > before, "the file is refused")
    assert servers(envoy, 10) == {"canary": 10}
    envoy.split(g.Traffic(), by="rename")


def test_copies_go_to_the_mirror_and_its_answers_to_nobody(envoy, stable, canary, eventually):
    envoy.split(g.Traffic({"stable": 100}, "canary", 50))
    canary.requests.clear()
    canary.status, canary.delay_seconds = 500, 0.2
    try:
        assert servers(envoy, 200) == {"stable": 200}
        eventually(lambda: envoy.stat("cluster.canary-rest.upstream_rq_5xx") >= 60, "copies are answered")
    finally:
        canary.status, canary.delay_seconds = 200, 0.0
    eventually(lambda: not envoy.stat("cluster.canary-rest.upstream_rq_active"), "the mirror is done")
    assert_share(len(canary.requests), 200, 50)
    envoy.split(g.Traffic({"stable": 100}, "canary", 0))
    canary.requests.clear()
    assert servers(envoy, 20) == {"stable": 20}
    assert canary.requests == []


@pytest.mark.parametrize(("balancing", "share"), [("weighted", 75.0), ("round_robin", 50.0)])
def test_servers_get_their_share(make_envoy, make_backend, track, balancing, share):
    fast, slow, unlisted = (make_backend(name, 3) for name in ("fast", "slow", "unlisted"))
    envoy = make_envoy(track("stable", fast, slow, unlisted, weights=(3, 1, 0)), balancing=balancing)
    found = servers(envoy, 400)
    assert set(found) == {"fast", "slow"}
    # Round robin over weights is no chance: off by the rounds that each of Envoy's threads has begun.
    assert abs(found["fast"] - 4 * share) <= 10
    assert unlisted.health_checks == 0


def test_a_server_that_has_a_request_gets_no_other_while_some_have_none(make_envoy, make_backend, track, eventually):
    busy, *idle = (make_backend(name, 3) for name in ("busy", "one", "two"))
    envoy = make_envoy(track("stable", busy, *idle), balancing="least_request")
    busy.delay_seconds = 12.0  # a try may take 15
    with ThreadPoolExecutor(20) as pool:
        eventually(lambda: pool.submit(envoy.predict) and busy.requests, "the busy server has a request")
        try:
            # Of two servers that are drawn at random both are the busy one each ninth time.
            assert set(servers(envoy, 50)) == {"one", "two"}
            assert len(busy.requests) == 1
        finally:
            busy.kill()


def test_each_address_behind_a_name_is_a_server(make_envoy, make_backend):
    backend = make_backend("named", 4)
    servers = (g.Server("localhost", backend.port, backend.grpc_port),)
    envoy = make_envoy(g.Track("stable", 4, servers, resolve=True))
    assert envoy.predict().json()["server"] == "named"
    assert envoy.call() == b"named"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ready", 200),
        ("/stats", 200),
        ("/stats/prometheus", 200),
        ("/config_dump?resource=dynamic_route_configs", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/config_dump", 404),
        ("/config_dump?resource=dynamic_listeners", 404),
        ("/config_dump?resource=dynamic_listeners&resource=dynamic_route_configs", 404),
        ("/clusters", 404),
        ("/certs", 404),
        ("/", 404),
        ("/stats/../quitquitquit", 404),
        ("/stats/recentlookups", 404),
        ("/quitquitquit", 404),
    ],
)
def test_the_status_listener_shows_these_pages_and_no_others(envoy, path, status):
    assert requests.get(envoy.status + path, timeout=10).status_code == status
    assert requests.post(envoy.status + path, timeout=10).status_code == 404


def test_no_page_of_the_status_listener_shows_another_resource(envoy):
    path = "/config_dump?resource=dynamic_route_configs"
    assert "traffic-" in requests.get(f"{envoy.status}{path}", timeout=10).text
    assert "per_connection_buffer_limit_bytes" not in requests.get(f"{envoy.status}{path}&resource=dynamic_listeners", timeout=10).text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/config_dump",
            "/config_dump?resource=dynamic_listeners",
            "/config_dump?resource=dynamic_route_configs&resource=dynamic_listeners",
        ),
        *("/ready/../config_dump", "/certs", "/init_dump", "/server_info", "/memory", "/logging", "/runtime_modify?a=b", "/reset_counters"),
        *("/quitquitquit", "/drain_listeners", "/healthcheck/fail", "/cpuprofiler?enable=y", "/tap", "/"),
    ],
)
def test_admin_on_loopback_shows_no_key_and_changes_nothing(envoy, path):
    for method in ("GET", "POST"):
        assert requests.request(method, f"{envoy.admin}{path}", timeout=10).status_code == 403
    assert envoy.process.poll() is None


def test_prometheus_finds_what_dashboards_show(envoy):
    envoy.split(g.Traffic({"stable": 50, "canary": 50}))
    servers(envoy, 20)
    text = requests.get(f"{envoy.status}/stats/prometheus", timeout=10).text
    for name in ("envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_time_bucket", "envoy_cluster_upstream_rq_retry"):
        assert any(line.startswith(name) and 'envoy_cluster_name="canary-rest"' in line for line in text.splitlines()), name
    assert 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="stable-rest",le="7.5"}' in text
    envoy.split(g.Traffic())
