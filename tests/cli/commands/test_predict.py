import datetime
import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isthmus.cli.commands.predict.asking import ask, targets_of
from isthmus.errors import InputError
from isthmus.observing.reach import Client
from isthmus.observing.stack_state import StackState

KEY = "k3y-of-a-client"
INSIDE = "http://digits.ns.svc.cluster.local:8501"


@pytest.fixture
def example(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2, 1), np.float32))
    return tmp_path / "x.npy"


@pytest.fixture
def asked(monkeypatch, example):
    """Asks everyone of a stack."""

    def ask_all(state, **options):
        monkeypatch.setattr("isthmus.cli.commands.predict.asking.read_stack", lambda name: state)
        return [ask(target, example) for target in targets_of("prod", None, Client(**options))]

    return ask_all


@pytest.fixture
def cluster(api, make_pod, server):
    """A gateway that is ready, behind one that is not."""
    api.pods[:] = [make_pod("g-1", "gateway", ready=False), make_pod("g-2", "gateway"), make_pod("s-1")]
    api.proxied["g-2:8501"] = server
    return api


def test_a_service_inside_a_cluster_is_asked_through_the_api_server(cluster, asked):
    (answer,) = asked(cluster.state(INSIDE))
    assert answer.predictions == [[0.1, 0.9]]
    assert (answer.answered_by, answer.track) == ("through the API server", "stable")


def test_key_and_track_go_with_every_request_and_the_track_that_answered_is_shown(cluster, asked, seen):
    (answer,) = asked(cluster.state(INSIDE), api_key=KEY, track="canary")
    assert answer.track == "canary"
    assert [(it["x-api-key"], it["isthmus-track"]) for it in seen] == [(KEY, "canary")] * 2
    assert all("hunter2" not in str(it) for it in seen)


def test_an_endpoint_that_answers_is_asked_directly(cluster, asked, server):
    cluster.proxied.clear()
    (answer,) = asked(cluster.state(server))
    assert (answer.error, answer.answered_by) == ("", "")
    assert cluster.requests == []


def test_an_endpoint_that_does_not_connect_is_asked_through_the_api_server(cluster, asked):
    (answer,) = asked(cluster.state("http://127.0.0.1:1"))
    assert answer.answered_by == "through the API server"


def test_with_tls_the_pod_is_asked_by_tls(cluster, asked, server):
    cluster.proxied = {"https:g-2:8501": server}
    state = cluster.state("https://digits.ns.svc.cluster.local:8501")
    state.outputs["services"]["digits"]["place"]["tls"] = True
    assert asked(state)[0].predictions


def test_without_a_gateway_that_is_ready_it_says_so(cluster, asked):
    del cluster.pods[1]
    assert "no gateway Pod of ns/digits is ready in the cluster http://127" in asked(cluster.state(INSIDE))[0].error


def test_a_pod_that_the_api_server_cannot_reach_is_named(cluster, asked):
    cluster.proxied.clear()
    assert "cannot reach Pod ns/g-2: no endpoints available" in asked(cluster.state(INSIDE))[0].error


def test_a_role_without_the_proxy_is_told_so(cluster, asked):
    cluster.forbidden.add("/proxy/")
    assert "forbidden. Fix: ask for a role that allows it" in asked(cluster.state(INSIDE))[0].error


def test_devices_see_neither_key_nor_track(server, asked, seen):
    state = StackState("s", {"fleets": {"f": {"devices": {"camera-1": server}, "model_name": "m"}}}, {})
    assert asked(state, api_key=KEY, track="canary")[0].predictions
    assert not any({"x-api-key", "isthmus-track"} & it.keys() for it in seen)


def test_options_that_are_wrong_are_all_named_and_the_key_is_not_shown():
    client = Client("sécret", "blue", ca=Path("/no/such/file"))
    with pytest.raises(InputError) as error:
        targets_of("http://x/v1/models/m", None, client)
    assert len(error.value.problems) == 3
    assert "sécret" not in f"{error.value} {client!r}"


def isthmus(*args, **environ):
    command = [sys.executable, "-m", "isthmus.cli.main", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ})


def test_a_gateway_that_wants_a_key_says_where_to_put_it(server, example):
    done = isthmus("predict", f"{server}/v1/models/closed", "--input", str(example))
    assert done.returncode == 1
    assert "401: no key. Fix: put a client's API key" in done.stderr


def test_the_key_comes_from_the_environment_and_is_never_shown(server, example, seen):
    done = isthmus("predict", f"{server}/v1/models/m", "--input", str(example), "--track", "canary", ISTHMUS_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert "canary" in done.stdout
    assert seen[0]["x-api-key"] == KEY
    assert KEY not in done.stdout + done.stderr + isthmus("predict", "--help", ISTHMUS_API_KEY=KEY).stdout


@pytest.fixture
def certificate(tmp_path):
    """Of a CA of its own that has signed itself: files (certificate, key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    return tmp_path / "ca.pem", tmp_path / "key.pem"


def test_a_gateway_with_a_ca_of_its_own_is_trusted_with_its_file_and_not_without(certificate, tls_server, example):
    ca, _ = certificate
    url = tls_server(*certificate)
    refused, trusted = (ask(targets_of(f"{url}/v1/models/m", None, Client(ca=it))[0], example) for it in (None, ca))
    assert "is not trusted" in refused.error
    assert "--ca FILE" in refused.error
    assert trusted.error == ""
