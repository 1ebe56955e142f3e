"""From inputs to Docker's API and back, without an engine."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.docker_plugin.container_config import create_config, nanoseconds, network_configs, update_options, upload_archive
from toolchain.docker_plugin.container_state import outputs, ports


@pytest.mark.parametrize(
    ("text", "nanos"), [("0s", 0), ("0", 0), ("1m30s", 90 * 10**9), ("500ms", 5 * 10**8), ("1.5h", 5400 * 10**9), ("2us", 2000)]
)
def test_durations_are_read_as_go_writes_them(text: str, nanos: int) -> None:
    assert nanoseconds(text) == nanos


@pytest.mark.parametrize("text", ["5", "s", "1d", "-1s", "1s 2s", "1s2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        nanoseconds(text)


@given(st.integers(0, 10**15))
def test_a_duration_that_docker_reports_reads_as_what_it_was(nanos: int) -> None:
    check = {"Test": ["NONE"], "Interval": nanos}
    found: dict[str, Any] = {"Config": {"Healthcheck": check}, "HostConfig": {"LogConfig": {}}, "NetworkSettings": {}}
    healthcheck = outputs({**found, "State": {"Running": True}}, {})["healthcheck"]
    assert nanoseconds(healthcheck["interval"]) == nanos


def test_volumes_mounts_and_ports_take_dockers_form() -> None:
    config = create_config(
        {
            "image": "a",
            "volumes": [
                {"hostPath": "/models", "containerPath": "/models", "readOnly": True},
                {"volumeName": "data", "containerPath": "/data", "selinuxRelabel": "z"},
                {"containerPath": "/anonymous"},
                {"fromContainer": "other"},
            ],
            "mounts": [{"type": "bind", "source": "/m", "target": "/m", "readOnly": True, "bindOptions": {"propagation": "rslave"}}],
            "ports": [{"internal": 8501, "external": 80, "ip": "127.0.0.1", "protocol": "tcp"}, {"internal": 53, "protocol": "udp"}],
            "securityOpts": ["systempaths=unconfined", "no-new-privileges:true"],
            "memory": 512,
            "memorySwap": -1,
        }
    )
    host = config["HostConfig"]
    assert host["Binds"] == ["/models:/models:ro", "data:/data:rw,z"]
    assert host["VolumesFrom"] == ["other"]
    assert set(config["Volumes"]) == {"/models", "/data", "/anonymous"}
    bind = {"Type": "bind", "Source": "/m", "Target": "/m", "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}}
    assert host["Mounts"] == [bind]
    assert host["PortBindings"]["8501/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "80"}]
    assert host["PortBindings"]["53/udp"] == [{"HostIp": "", "HostPort": ""}]
    assert (host["SecurityOpt"], host["MaskedPaths"]) == (["no-new-privileges:true"], [])
    assert (host["Memory"], host["MemorySwap"]) == (512 << 20, -1)


def test_a_higher_limit_takes_the_swap_limit_along() -> None:
    assert update_options({"memory": 64})["memswap_limit"] == 128 << 20
    assert update_options({"memory": 64, "memorySwap": 64})["memswap_limit"] == 64 << 20
    assert update_options({"restart": "always"}) == {"restart_policy": {"Name": "always", "MaximumRetryCount": 0}}


def test_a_networks_options_are_named_as_the_sdk_names_them() -> None:
    ends = dict(
        network_configs({"networksAdvanced": [{"name": "n", "aliases": ["a"], "ipv4Address": "10.0.0.2", "driverOpts": ["k=v=w"]}]})
    )
    assert ends == {"n": {"aliases": ["a"], "ipv4_address": "10.0.0.2", "driver_opt": {"k": "v=w"}}}


def test_uploads_with_the_same_content_are_the_same_bytes() -> None:
    inputs = {"uploads": [{"file": "/a/b", "content": "x", "permissions": "0600"}]}
    assert upload_archive(inputs) == upload_archive(inputs)
    assert upload_archive({}) is None


def test_a_port_that_docker_chose_shows_in_the_state_and_a_chosen_one_stays() -> None:
    bound = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32769"}]}  # noqa: S104
    asked = [{"internal": 80, "ip": "0.0.0.0", "protocol": "tcp", "__defaults": ["ip"]}]  # noqa: S104
    assert ports(asked, bound) == [{"internal": 80, "ip": "0.0.0.0", "protocol": "tcp", "external": 32768}]  # noqa: S104
    assert ports([{"internal": 81, "external": 9}], {}) == [{"internal": 81, "external": 9}]
