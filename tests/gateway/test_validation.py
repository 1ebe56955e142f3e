"""Envoy accepts what is written, in every combination, without a word about fields that it does not know or will forget."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import gateway as g

ENVOY = Path(sys.executable).parent / "envoy"
JWKS = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }
        ]
    }
)
ADDRESSES = g.Track("stable", 1, (g.Server("127.0.0.1", 8501, 8500, 3), g.Server("127.0.0.1", 8601, 8600, 1)))
NAMES = g.Track("stable", 0, (g.Server("servers.test", 8501, 8500),), resolve=True)
NOBODY = g.Track("stable", 1, ())
CANARY = g.Track("canary", 2, (g.Server("127.0.0.1", 8701, 8700),))
KEYS = {"alice": "the-key-of-alice-alone"}
JWT = g.Jwt("https://issuer.test", ("digits",), JWKS)
OPTIONS = {
    "defaults": g.GatewayOptions(),
    "keys": g.GatewayOptions(api_keys=KEYS, requests_per_second_per_client=2.5),
    "tokens": g.GatewayOptions(jwt=JWT, requests_per_second_per_client=1000, burst_per_client=5000),
    "either": g.GatewayOptions(api_keys=KEYS, jwt=replace(JWT, audiences=())),
    "addresses": g.GatewayOptions(requests_per_second_per_client=0.01, trusted_hops=2),
    "limits": g.GatewayOptions(
        timeout_seconds=0.25, try_timeout_seconds=0.1, max_memory_bytes=2**30, max_request_bytes=2**30, drain_seconds=1
    ),
}
MIRROR = g.Traffic({"stable": 93, "canary": 7}, "canary", 50)
CASES = [
    *((name, "least_request", (ADDRESSES,), g.Traffic()) for name in OPTIONS),
    *(("defaults", balancing, (track, CANARY), MIRROR) for balancing in ("round_robin", "weighted") for track in (ADDRESSES, NAMES)),
    ("defaults", "least_request", (NOBODY,), g.Traffic()),
]


def as_static(gateway: g.Gateway, traffic: g.Traffic) -> dict:
    """Dynamic resources are not read in validation mode: the same resources, given statically, are."""
    files = {**g.static_files(gateway), **g.live_files(gateway), **g.routes_of(gateway, traffic)}
    found = json.loads(files["envoy.json"])
    del found["dynamic_resources"]
    for key, file in (("listeners", "lds.json"), ("clusters", "cds.json")):
        plain = ({k: v for k, v in it.items() if k != "@type"} for it in json.loads(files[file])["resources"])
        found["static_resources"].setdefault(key, []).extend(plain)
    (routes,) = json.loads(files["rds.json"])["resources"]
    for listener in found["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if manager.pop("rds", None):
            manager["route_config"] = {k: v for k, v in routes.items() if k != "@type"}
    return found


def validated(directory: Path, bootstrap: dict) -> subprocess.CompletedProcess[str]:
    (directory / "envoy.json").write_text(json.dumps(bootstrap))
    command = [ENVOY, "--mode", "validate", "--config-path", directory / "envoy.json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def gateway(options: g.GatewayOptions, tracks: tuple[g.Track, ...], **more) -> g.Gateway:
    return g.Gateway(
        node="gateway",
        model_name="digits-1.0+b",
        tracks=tracks,
        rest_port=0,
        grpc_port=0,
        admin_port=0,
        directory="/live",
        traffic_directory="/traffic",
        options=options,
        **{"status_port": 0, **more},
    )


@pytest.mark.parametrize(("options", "balancing", "tracks", "traffic"), CASES)
def test_envoy_accepts_the_configuration(tmp_path, options, balancing, tracks, traffic):
    done = validated(tmp_path, as_static(gateway(OPTIONS[options], tracks, balancing=balancing), traffic))
    assert done.returncode == 0, done.stderr[-4000:]
    assert "silently ignored" not in done.stderr
    assert "Deprecated field" not in done.stderr


def test_on_all_addresses_and_without_a_status_listener(tmp_path):
    bootstrap = as_static(gateway(g.GatewayOptions(), (ADDRESSES,), bind_address="::", status_port=None), g.Traffic())
    assert validated(tmp_path, bootstrap).returncode == 0


def test_envoy_refuses_what_it_does_not_know(tmp_path):
    bootstrap = as_static(gateway(g.GatewayOptions(), (ADDRESSES,)), g.Traffic())
    bootstrap["static_resources"]["clusters"][1]["lb_policy"] = "NO_SUCH_POLICY"
    assert validated(tmp_path, bootstrap).returncode != 0
