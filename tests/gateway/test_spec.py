"""What holds for every gateway, seen in the files alone."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isthmus import gateway as g

SERVERS = (g.Server("10.0.0.1", 8501, 8500, 3), g.Server("10.0.0.2", 8501, 8500, 1), g.Server("10.0.0.3", 8501, 8500, 0))
STABLE = g.Track("stable", 1, SERVERS)
CANARY = g.Track("canary", 2, (g.Server("canary.test", 8501, 8500),), resolve=True)
JWT = g.Jwt("https://issuer.test", ("digits",), '{"keys": [{"kty": "EC"}]}')
GATEWAY = g.Gateway(
    node="gateway",
    model_name="digits",
    tracks=(STABLE, CANARY),
    rest_port=8501,
    grpc_port=8500,
    admin_port=9901,
    status_port=9902,
    directory="/live",
    traffic_directory="/traffic",
)
NAMES = st.from_regex(r"[A-Za-z0-9_.+-]{1,20}", fullmatch=True)


def resources(files: dict[str, str], name: str) -> list[dict]:
    return json.loads(files[name])["resources"]


def clusters(gateway: g.Gateway) -> dict[str, dict]:
    return {it["name"]: it for it in resources(g.live_files(gateway), "cds.json")}


def endpoints(cluster: dict) -> list[dict]:
    return [it for group in cluster["load_assignment"]["endpoints"] for it in group["lb_endpoints"]]


def routes(model: str = "digits", versions: dict[str, int] | None = None, traffic: g.Traffic | None = None, **more) -> list[dict]:
    files = g.route_files(model, versions or {"stable": 1, "canary": 2}, traffic or g.Traffic(), **more)
    return resources(files, "rds.json")[0]["virtual_hosts"][0]["routes"]


def reached(path: str, found: list[dict], headers: dict[str, str] | None = None) -> dict:
    """The first route that matches, as Envoy takes it."""
    for route in found:
        match = route["match"]
        pattern = match["safe_regex"]["regex"] if "safe_regex" in match else re.escape(match["prefix"]) + ".*"
        named = all(
            (headers or {}).get(it["name"]) == it["string_match"]["exact"] if "string_match" in it else it["name"] in (headers or {})
            for it in match.get("headers", ())
        )
        if named and "grpc" not in match and re.fullmatch(pattern, path):
            return route
    raise AssertionError(f"no route for {path}")


def cluster_of(route: dict) -> str | None:
    """None: refused, or split."""
    return route.get("route", {}).get("cluster")


def test_each_track_has_a_cluster_for_each_protocol():
    assert set(clusters(GATEWAY)) == {"stable-rest", "stable-grpc", "canary-rest", "canary-grpc"}
    assert set(clusters(replace(GATEWAY, tracks=(STABLE,)))) == {"stable-rest", "stable-grpc"}


@pytest.mark.parametrize(
    ("balancing", "policy"), [("round_robin", "round_robin"), ("least_request", "least_request"), ("weighted", "round_robin")]
)
def test_the_policy_is_the_one_that_was_asked_for(balancing, policy):
    for cluster in clusters(replace(GATEWAY, balancing=balancing)).values():
        (found,) = cluster["load_balancing_policy"]["policies"]
        assert found["typed_extension_config"]["name"] == f"envoy.load_balancing_policies.{policy}"


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.sampled_from(["weighted", "round_robin", "least_request"]))
def test_a_server_is_listed_exactly_if_it_has_weight(weights, balancing):
    assume(any(weights))
    servers = tuple(g.Server(f"10.0.0.{i}", 1, 2, weight) for i, weight in enumerate(weights))
    gateway = replace(GATEWAY, tracks=(g.Track("stable", 1, servers),), balancing=balancing)
    for cluster in clusters(gateway).values():
        listed = [(it["endpoint"]["address"]["socket_address"]["address"], it.get("load_balancing_weight", 1)) for it in endpoints(cluster)]
        assert listed == [(it.host, it.weight if balancing == "weighted" else 1) for it in servers if it.weight]


def test_health_is_asked_at_the_rest_port_for_the_pinned_version():
    for name, cluster in clusters(GATEWAY).items():
        version = 1 if name.startswith("stable") else 2
        (check,) = cluster["health_checks"]
        assert check["http_health_check"]["path"] == f"/v1/models/digits/versions/{version}/metadata"
        assert {it["endpoint"]["health_check_config"]["port_value"] for it in endpoints(cluster)} == {8501}


def test_names_are_looked_up_and_addresses_are_not():
    assert clusters(GATEWAY)["stable-rest"]["type"] == "STATIC"
    named = clusters(GATEWAY)["canary-grpc"]
    assert named["cluster_type"]["typed_config"]["respect_dns_ttl"] is False
    assert named["ignore_health_on_host_removal"] is True


@given(NAMES, st.integers(1, 2**31), st.integers(1, 2**31), st.sampled_from(["", ":predict", "/metadata", ":classify"]))
def test_a_version_in_the_path_leads_to_the_track_that_has_it(model, stable, canary, verb):
    assume(stable != canary)
    found = routes(model, {"stable": stable, "canary": canary})
    assert cluster_of(reached(f"/v1/models/{model}/versions/{stable}{verb}", found)) == "stable-rest"
    assert cluster_of(reached(f"/v1/models/{model}/versions/{canary}{verb}", found)) == "canary-rest"
    assert cluster_of(reached(f"/v1/models/{model}/labels/canary{verb}", found)) == "canary-rest"
    assert cluster_of(reached(f"/v1/models/{model}{verb}", found, {"isthmus-track": "canary"})) == "canary-rest"
    assert "weighted_clusters" in reached(f"/v1/models/{model}{verb}", found)["route"]


@given(NAMES, st.text("/:.a1modelsv", max_size=40))
def test_only_paths_of_the_model_reach_a_server(model, path):
    route = reached(f"/{path}", routes(model))
    below = re.fullmatch(re.escape(f"/v1/models/{model}") + r"([:/].*)?", f"/{path}")
    assert ("route" in route) == bool(below) or route["direct_response"]["status"] == 404


@given(NAMES, st.sampled_from(["", ":predict", "/metadata"]))
def test_a_label_is_taken_out_of_the_path(model, verb):
    route = reached(f"/v1/models/{model}/labels/stable{verb}", routes(model))
    rewrite = route["route"]["regex_rewrite"]
    assert re.sub(rewrite["pattern"]["regex"], lambda _: rewrite["substitution"], f"/v1/models/{model}/labels/stable{verb}") == (
        f"/v1/models/{model}{verb}"
    )


@given(st.integers(0, 100))
def test_shares_are_the_percents(percent):
    found = routes(traffic=g.Traffic({"stable": 100 - percent, "canary": percent}))
    for route in found:
        if "weighted_clusters" in route.get("route", {}):
            shares = {it["name"].split("-")[0]: it["weight"] for it in route["route"]["weighted_clusters"]["clusters"]}
            assert {track: share for track, share in (("stable", 100 - percent), ("canary", percent)) if share} == shares


def test_an_explicit_track_is_never_mirrored():
    found = routes(traffic=g.Traffic({"stable": 100}, "canary", 25))
    mirrored = [route for route in found if "request_mirror_policies" in route.get("route", {})]
    assert len(mirrored) == 2  # REST and gRPC
    assert all("weighted_clusters" in route["route"] for route in mirrored)


def test_the_generation_can_be_seen():
    (config,) = resources(g.route_files("digits", {"stable": 1}, g.Traffic(), generation="7f3"), "rds.json")
    assert config["virtual_hosts"][0]["name"] == "traffic-7f3"


@pytest.mark.parametrize(
    ("versions", "traffic"),
    [
        ({}, g.Traffic()),
        ({"stable": 1, "blue": 2}, g.Traffic()),
        ({"stable": 1, "canary": 1}, g.Traffic()),
        ({"stable": 1}, g.Traffic({"stable": 90})),
        ({"stable": 1}, g.Traffic({"stable": 90, "canary": 10})),
        ({"stable": 1, "canary": 2}, g.Traffic({"stable": 110, "canary": -10})),
        ({"stable": 1}, g.Traffic({"stable": 100}, "canary", 5)),
        ({"stable": 1, "canary": 2}, g.Traffic({"stable": 100}, "canary", 101)),
    ],
)
def test_traffic_that_cannot_be_is_refused(versions, traffic):
    with pytest.raises(ValueError, match=r"track|percent"):
        g.route_files("digits", versions, traffic)


@pytest.mark.parametrize("weights", [(0, 0), (1, -1)])
def test_weights_that_cannot_be_are_refused(weights):
    servers = tuple(g.Server("10.0.0.1", 1, 2, weight) for weight in weights)
    with pytest.raises(ValueError, match="weights"):
        replace(GATEWAY, tracks=(g.Track("stable", 1, servers),))


def test_keys_are_in_one_file_and_nowhere_else():
    key = "the-key-of-alice-alone"
    gateway = replace(GATEWAY, options=g.GatewayOptions(api_keys={"alice": key}, jwt=JWT))
    files = {**g.static_files(gateway), **g.live_files(gateway), **g.routes_of(gateway)}
    assert [name for name, text in files.items() if key in text] == ["lds.json"]
    assert key not in repr(gateway)
    assert key not in str(g.command(gateway, "/envoy.json"))


def test_without_keys_listeners_hold_no_secret():
    assert "api_key_auth" not in g.live_files(GATEWAY)["lds.json"]


def test_nothing_listens_anywhere_but_where_it_is_told():
    gateway = replace(GATEWAY, bind_address="192.0.2.1")
    found = [json.loads(g.static_files(gateway)["envoy.json"]), *resources(g.live_files(gateway), "lds.json")]
    assert found[0]["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    where = [it["address"]["socket_address"]["address"] for it in (*found[0]["static_resources"]["listeners"], *found[1:])]
    assert where == ["192.0.2.1"] * 3


@given(st.integers(0, 600), st.floats(0.1, 3600), st.integers(1, 600))
def test_a_gateway_stays_until_the_last_request_of_the_last_connection(drain, timeout, more):
    options = g.GatewayOptions(drain_seconds=drain, timeout_seconds=timeout)
    assert g.leave_seconds(options) >= drain + timeout
    assert g.leave_seconds(replace(options, drain_seconds=drain + more)) == g.leave_seconds(options) + more


def test_everything_that_is_wrong_with_keys_is_said_without_showing_them():
    jwks = '{"keys": [{"kty": "EC", "d": "the-private-part"}]}'
    same, short, spaced = "one-key-for-two-clients", "too-short", " a-key-with-spaces-around "
    options = g.GatewayOptions(
        api_keys={"alice": same, "bob": same, "carol": short, "dave": spaced, "é": "a-key-that-is-long-enough"}, jwt=replace(JWT, jwks=jwks)
    )
    problems = [str(it) for it in g.options_problems(options, "cloud.digits.gateway")]
    assert len(problems) == 5
    assert not [it for it in problems if any(secret in it for secret in (same, short, spaced.strip(), "the-private-part"))]
    assert g.options_problems(g.GatewayOptions(api_keys={"alice": same}, jwt=JWT), "x") == []


@pytest.mark.parametrize("jwks", ["", "[]", "{}", '{"keys": []}', '{"keys": [1]}', '{"keys": [{"kty": "oct", "k": "x"}]}'])
def test_keys_of_an_issuer_that_cannot_be_read_are_refused(jwks):
    (problem,) = g.options_problems(g.GatewayOptions(jwt=replace(JWT, jwks=jwks)), "x")
    assert problem.path == "x.jwks"
