from dataclasses import replace

import pytest

from isthmus.arguments import components
from isthmus.arguments.checking import check, problems_of
from isthmus.limits import CLUSTER
from isthmus.platforms.kubernetes.desired import namespace_of, planned, service_of
from isthmus.platforms.kubernetes.objects import Pool, Served, Track, objects, outline
from isthmus.platforms.rules import with_platforms
from isthmus.release.fetch import FetchFile, FetchPlan

CloudSettings = with_platforms(components.CloudSettings)

STORE = {"endpoint": "http://store", "access_key": "key", "secret_key": "secret"}
GOOD = {"model": "models/digits", "requests_per_second": 20, "p95_ms": 50, "platform": "kubernetes", "store": STORE}


def made(**kubernetes):
    args = check(CloudSettings, {**GOOD, "kubernetes": kubernetes}, "services.digits")
    return service_of(args, "digits", "digits", stack="dev", operator=False)


def served(version):
    digest = "sha256:" + 64 * "a"
    return Served(version, digest, FetchPlan(digest, version, 1000, (FetchFile(f"serving/{version}/saved_model.pb", 64 * "b", 1000),)))


def test_how_long_pods_that_go_away_serve_on_is_what_the_program_says():
    service = made(gateway_leave_seconds=2, server_drain_seconds=3)
    assert (service.gateway.leave_seconds, service.server_drain_seconds) == (2, 3)


def test_a_program_that_says_nothing_loses_no_request():
    service = made()
    assert service.gateway.leave_seconds is None  # then it follows from the gateway's own times
    assert service.server_drain_seconds == 15


def test_a_namespace_that_nobody_names_has_the_stack_in_its_name():
    assert (made().namespace, made().create_namespace) == ("digits-dev", True)
    assert (made(namespace="serving").namespace, made(namespace="serving").create_namespace) == ("serving", False)
    assert made(namespace="digits", create_namespace=True).create_namespace
    long = namespace_of(check(CloudSettings, GOOD, "services.digits"), "n" * 60, "production")
    assert len(long) == 63
    assert long != namespace_of(check(CloudSettings, GOOD, "services.digits"), "n" * 60, "staging")


def test_every_object_says_whose_it_is_and_no_pod_is_started_anew_for_it():
    ours, theirs = (outline(replace(made(), owner=f"acme/shop/{stack}")) for stack in ("dev", "prod"))
    for key, it in ours.items():
        metadata = it["metadata"]
        assert metadata["annotations"]["isthmus.dev/owner"] == "acme/shop/dev", key
        assert len(metadata["labels"]["isthmus.dev/owner"]) <= 63
        assert metadata["labels"]["isthmus.dev/owner"] != theirs[key]["metadata"]["labels"]["isthmus.dev/owner"]
    tracks = tuple(replace(track, serves=served(1)) for track in made().tracks)
    templates = [
        [it["spec"]["template"] for it in objects(replace(made(), owner=owner, tracks=tracks)).values() if it["kind"] == "Deployment"]
        for owner in ("", "acme/shop/dev", "acme/shop/prod")
    ]
    assert templates[0] == templates[1] == templates[2]


def test_an_update_ends_with_the_planned_servers_and_a_canary_with_those_for_its_share():
    pool = Pool(planned_replicas=4, min_replicas=2, max_replicas=8)
    service = replace(made(), tracks=(Track("stable", (pool,)), Track("canary", (pool,))))
    assert planned(service) == {"digits-stable": 4, "digits-canary": 2}
    assert planned(replace(service, autoscale=False)) == {"digits-stable": 4, "digits-canary": 4}


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8333", "http://localhost:8333", "http://[::1]:8333", "https://s3.localhost"])
def test_a_store_that_only_this_machine_reaches_is_refused_for_pods(endpoint):
    def problems(**store):
        return [str(it) for it in problems_of(CloudSettings, {**GOOD, "store": {**STORE, **store}}, "services.digits")[1]]

    (problem,) = problems(endpoint=endpoint)
    assert problem.startswith("services.digits.store.endpoint: is this machine's own address")
    assert "Fix: set store.pull_endpoint" in problem
    assert problems(endpoint=endpoint, pull_endpoint="http://10.1.2.3:8333") == []
    (problem,) = problems(pull_endpoint=endpoint)
    assert problem.startswith("services.digits.store.pull_endpoint: ")


@pytest.mark.parametrize("owner", ["dev", "shop/dev", "a/b/c/d", "a//c", "a b/c/d", ""])
def test_from_whom_something_is_taken_over_is_said_in_full(owner):
    _, found = problems_of(CloudSettings, {**GOOD, "kubernetes": {"take_over_from": owner}}, "services.digits")
    assert [problem.path for problem in found] == ["services.digits.kubernetes.take_over_from"]


@pytest.mark.parametrize("name", ["gateway_leave_seconds", "server_drain_seconds"])
def test_pods_that_do_not_wait_at_all_are_refused(name):
    _, found = problems_of(CloudSettings, {**GOOD, "kubernetes": {name: 0}}, "services.digits")
    assert [str(problem) for problem in found] == [f"services.digits.kubernetes.{name}: found 0; expected {CLUSTER[name].range}"]
