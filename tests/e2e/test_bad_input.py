"""Each mistake is one clear message at preview, with nothing started."""

import socket
from contextlib import closing

import pytest

from isthmus.repository import ceremony

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shared(make_project):
    return make_project()


@pytest.fixture
def refused(shared, digits, processes_of):
    """Previews the embedded default with changes, expects one message, and that nothing was started."""

    def preview(*said: str, **changes):
        shared.configure(hybrids={"digits": digits(**changes)})
        done = shared.preview()
        assert done.code != 0, done
        for text in said:
            assert text in done.text, done
        assert "Traceback" not in done.text, done
        # One message, however many components share the mistake. (Above the diagnostics, rows repeat what is below.)
        assert done.text.partition("Diagnostics:")[2].count("error:") == 1, done
        assert not processes_of(shared.root)
        assert not (shared.root / ".isthmus").exists()
        return done

    return preview


def test_a_source_that_raises(refused, shared):
    (shared.root / "broken.py").write_text("def build():\n    raise ValueError('the weights are on another planet')\n")
    refused("the weights are on another planet", "hybrids.digits.model", model="broken:build", min_accuracy=None)


def test_a_model_without_a_signature(refused, shared, unsigned_model):
    (shared.root / "unsigned").symlink_to(unsigned_model) if not (shared.root / "unsigned").exists() else None
    refused("hybrids.digits.model: ", "has no signature serving_default", model="unsigned", min_accuracy=None)


def test_accuracy_below_the_gate(refused):
    refused("hybrids.digits.min_accuracy: ", "0.9999", min_accuracy=0.9999)


def test_an_infeasible_demand(refused):
    refused("hybrids.digits.p95_ms: a p95 of 0.001 ms cannot be met by any number of replicas", p95_ms=0.001)


def test_a_demand_beyond_the_bound(refused):
    refused("hybrids.digits.requests_per_second: ", "expected at most 2 (max_replicas)", requests_per_second=1e5, max_replicas=2)


# Component → what is wrong with it, and what is said of that.
WRITTEN = {
    "gone": ({"model": "models/nothing"}, ["model: there is no model 'models/nothing'"]),
    "elsewhere": ({"platform": "nomad"}, ["platform: unknown platform 'nomad'; expected local"]),
    "misspelt": (
        {"balancing": "least_requests"},
        ["balancing: unknown balancing policy 'least_requests'", "did you mean 'least_request'?"],
    ),
    "negative": ({"requests_per_second": -3}, ["requests_per_second: found -3; expected more than 0"]),
    "recipes": ({"recipe": "int9"}, ["recipe: "]),
    "twice": ({"p95_ms": -1, "version": 0}, ["p95_ms: found -1", "version: found 0"]),
    "fleetless": ({"fleet": "fleets/gone.yaml"}, ["fleet: cannot read fleet file 'fleets/gone.yaml'"]),
}


def test_what_the_stack_file_alone_shows_to_be_wrong_is_told_all_at_once(shared, digits, processes_of):
    shared.configure(hybrids={name: digits(**changes) for name, (changes, _) in WRITTEN.items()})
    done = shared.preview()
    assert done.code != 0, done
    diagnostics = done.text.partition("Diagnostics:")[2]
    for name, (_, said) in WRITTEN.items():
        assert f"hybrids.{name}.{said[0]}" in diagnostics, done
        for text in said[1:]:
            assert text in diagnostics, done
    assert diagnostics.count("error:") == 1, done
    assert "Traceback" not in done.text, done
    assert not processes_of(shared.root)
    assert not (shared.root / ".isthmus").exists()


def test_a_port_in_use(refused):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(f"port {port} is held by ", "expected a free port", local={"port": port, "grpc_port": 0})


@pytest.fixture
def signed(shared):
    """What a fleet in a store of the user's own needs beside it."""
    if not (shared.root / "keys").exists():
        ceremony.init(shared.root / "keys", ["cameras"])
    return {"keys": "keys", "device_access": {"access_key": "device", "secret_key": "hunter3"}}


def test_a_store_that_cannot_be_reached(refused, signed):
    store = {"endpoint": "http://127.0.0.1:1", "access_key": "key", "secret_key": "hunter2"}
    done = refused("cannot reach", "http://127.0.0.1:1", store=store, **signed)
    assert "hunter" not in done.text


def test_wrong_credentials_of_a_store(refused, signed, store_server):
    store = {"endpoint": store_server.address.endpoint, "access_key": "key", "secret_key": "hunter2"}
    done = refused("credentials", store_server.address.endpoint, store=store, **signed)
    assert "hunter" not in done.text


def test_a_missing_passphrase(shared, digits):
    shared.configure(hybrids={"digits": digits()})
    environment = {key: value for key, value in shared.environment.items() if not key.startswith("PULUMI_CONFIG_PASSPHRASE")}
    before, shared.environment = shared.environment, environment
    try:
        done = shared.preview()
    finally:
        shared.environment = before
    assert done.code != 0
    assert "PULUMI_CONFIG_PASSPHRASE" in done.text
    assert "Traceback" not in done.text


def test_an_empty_stack_says_what_to_declare(shared):
    shared.configure()
    done = shared.preview()
    assert done.code != 0
    assert "this stack declares nothing" in done.text
