import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.platforms import gateway

ENDPOINTS = [{"rest": 9001, "grpc": 9101}, {"rest": 9002, "grpc": 9102}]
ENVOY = Path(sys.executable).parent / "envoy"


def filled(text: str, directory: Path) -> str:
    """The file as the plugin writes it."""
    for name, value in {"${directory}": str(directory), "${port.admin}": "0", "${port.rest}": "0", "${port.grpc}": "0"}.items():
        text = text.replace(name, value)
    return text


def cluster(kind: str, policy: str = "least_request") -> dict:
    (found,) = [c for c in gateway.clusters("digits", ENDPOINTS, policy)["resources"] if c["name"] == kind]
    return found


@pytest.mark.parametrize(("policy", "envoy"), [("round_robin", "ROUND_ROBIN"), ("least_request", "LEAST_REQUEST")])
def test_the_policy_is_the_one_that_was_asked_for(policy, envoy):
    assert {cluster("rest", policy)["lb_policy"], cluster("grpc", policy)["lb_policy"]} == {envoy}


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_every_server_is_behind_the_gateway_at_its_port(kind):
    (group,) = cluster(kind)["load_assignment"]["endpoints"]
    ports = [it["endpoint"]["address"]["socket_address"]["port_value"] for it in group["lb_endpoints"]]
    assert ports == [it[kind] for it in ENDPOINTS]


def test_health_is_asked_at_the_rest_port_for_both():
    for kind in ("rest", "grpc"):
        (group,) = cluster(kind)["load_assignment"]["endpoints"]
        assert [it["endpoint"]["health_check_config"]["port_value"] for it in group["lb_endpoints"]] == [9001, 9002]


def test_everything_listens_on_loopback():
    text = json.dumps([gateway.bootstrap("g"), gateway.listeners(), gateway.clusters("m", ENDPOINTS, "round_robin")])
    assert '"address": "127.0.0.1"' in text
    assert "0.0.0.0" not in text  # noqa: S104


@pytest.mark.parametrize("policy", sorted(gateway.LB_POLICY))
def test_envoy_itself_accepts_the_configuration(tmp_path, policy):
    files = {**gateway.files("gateway"), **gateway.live_files("digits", ENDPOINTS, policy)}
    for name, text in files.items():
        (tmp_path / name).write_text(filled(text, tmp_path))
    # Dynamic resources are not read in validation mode: the same resources, given statically, are.
    bootstrap = json.loads((tmp_path / "envoy.json").read_text())
    del bootstrap["dynamic_resources"]
    bootstrap["static_resources"] = {
        key: [{k: v for k, v in it.items() if k != "@type"} for it in json.loads((tmp_path / file).read_text())["resources"]]
        for key, file in (("listeners", "lds.json"), ("clusters", "cds.json"))
    }

    def validate() -> subprocess.CompletedProcess[str]:
        (tmp_path / "static.json").write_text(json.dumps(bootstrap))
        command = [ENVOY, "--mode", "validate", "--config-path", tmp_path / "static.json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = validate()
    assert done.returncode == 0, done.stderr
    assert "silently ignored" not in done.stderr
    bootstrap["static_resources"]["clusters"][0]["lb_policy"] = "NO_SUCH_POLICY"
    assert validate().returncode != 0
