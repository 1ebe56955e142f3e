"""Services in the configurations that all objects are checked in."""

import dataclasses
import datetime
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.gateway import GatewayOptions, Jwt
from isthmus.platforms.kubernetes.objects import GatewayPods, KubernetesService, Observability, Pool, Served, Store, Track
from isthmus.release.fetch import FetchFile, FetchPlan

PROJECT = Path(__file__).resolve().parents[3]
if str(PROJECT) not in sys.path:
    sys.path.insert(0, str(PROJECT))  # for `toolchain`

JWKS = json.dumps(
    {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
)


def served(version: int, size_bytes: int = 100_000, files: int = 2) -> Served:
    """A release of that version."""
    digest = "sha256:" + f"{version:x}" * 64
    names = ["saved_model.pb", *(f"assets/{number}" for number in range(1, files))]
    plan = FetchPlan(digest, version, 1000, tuple(FetchFile(f"serving/{version}/{name}", 64 * "b", size_bytes // files) for name in names))
    return Served(version, digest, plan)


def service(**changes: Any) -> KubernetesService:
    """A plain service: one track, one kind of servers."""
    stable = Track("stable", (Pool(planned_replicas=3, min_replicas=2, max_replicas=8, cpu_target_percent=55),), served(1))
    store = Store("http://10.1.2.3:8333", "us-east-1", "models", "team/", access_key="store-access-key", secret_key="store-secret-key")
    plain = KubernetesService("digits", "serving", "digits", (stable,), store, observability=Observability(50, 200))
    return dataclasses.replace(plain, **changes)


def with_canary() -> KubernetesService:
    plain = service()
    return dataclasses.replace(plain, tracks=(*plain.tracks, Track("canary", (Pool(min_replicas=1, max_replicas=4),), served(2))))


def with_pools() -> KubernetesService:
    pools = (Pool("slow", 4, weight=1), Pool("fast", 1, weight=3, node_selector={"node.kubernetes.io/instance-type": "c7.large"}))
    return service(tracks=(Track("stable", pools, served(1)),), autoscale=False, gateway=GatewayPods(balancing="weighted"))


@cache
def certificate() -> tuple[str, str]:
    """A self-signed certificate and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "digits.test")])
    now = datetime.datetime.now(datetime.UTC)
    unsigned = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = unsigned.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def with_everything() -> KubernetesService:
    options = GatewayOptions(
        api_keys={"shop": "gateway-key-of-the-shop"},
        jwt=Jwt("https://issuer.test", ("digits",), JWKS),
        requests_per_second_per_client=5,
        device_requests=4,
    )
    tls_certificate, tls_key = certificate()
    pods = GatewayPods(
        options=options,
        service_type="LoadBalancer",
        node_port=30123,
        service_annotations={"cloud.test/internal": "true"},
        client_cidrs=("10.0.0.0/8",),
        client_namespaces=("shop",),
        tls=True,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    return dataclasses.replace(
        with_canary(),
        name="A_rather_long_name_of_a_service_that_no_DNS_label_could_hold_2026",
        gateway=pods,
        create_namespace=True,
        image_pull_secrets=("registry",),
        priority_class="serving",
        store=dataclasses.replace(service().store, endpoint="https://s3.eu-central-1.test"),
        observability=Observability(50, 200, operator=True),
    )


CONFIGURATIONS: dict[str, Callable[[], KubernetesService]] = {
    "plain": service,
    "canary": with_canary,
    "pools": with_pools,
    "everything": with_everything,
}


@pytest.fixture(params=CONFIGURATIONS)
def configured(request: pytest.FixtureRequest) -> KubernetesService:
    """Each of CONFIGURATIONS."""
    return CONFIGURATIONS[request.param]()


@pytest.fixture(scope="session")
def configurations() -> dict[str, KubernetesService]:
    """All of them, by name."""
    return {name: made() for name, made in CONFIGURATIONS.items()}


@pytest.fixture(scope="session")
def make() -> Callable[..., KubernetesService]:
    """A plain service with changes."""
    return service


@pytest.fixture(scope="session")
def release() -> Callable[..., Served]:
    return served
