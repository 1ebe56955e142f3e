import dataclasses
import json
import tomllib

import pytest

from isthmus.platforms.local import desired as local
from isthmus_agent.manager import settings

CONFIG = local.DeviceConfig("/devices/camera-1", "digits")
CLOUD = local.CloudAsked("http://127.0.0.1:8501", 0.8, 500)
SPECS = [
    local.server("server", "digits", "/models/digits", 3),
    local.envoy("gateway", "digits", port=8501, grpc_port=8500),
    local.store("store"),
    local.device("camera", 0),
    local.broker("cameras-_broker"),
]
GROUP = local.GroupAsked("yard", 1234, "CERT", "s3cret", shares_inputs=True, timeout_ms=300, deadline_ms=80)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.program)
def test_every_placeholder_names_a_port_or_a_socket_of_the_program(spec):
    text = json.dumps(dataclasses.asdict(spec))
    for kind, known in (("port", spec.ports), ("socket", spec.sockets)):
        used = {part.partition("}")[0] for part in text.split(f"${{{kind}.")[1:]}
        assert used <= set(known)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.program)
def test_readiness_is_asked_at_a_port_or_a_socket_of_the_program_and_has_a_deadline(spec):
    assert spec.ready.get("port") in spec.ports or spec.ready.get("socket") in spec.sockets
    assert spec.ready["timeout_seconds"] > 0


def test_a_server_is_ready_only_when_its_model_is_available():
    assert local.server("server", "digits", "/models/digits", 1).ready["contains"] == "AVAILABLE"


def test_the_store_listens_on_loopback_with_telemetry_off():
    command = local.store("store").command
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false"} <= set(command)


def test_how_many_buckets_the_store_may_have_is_not_left_to_the_disks_free_space():
    assert f"-volume.max={local.STORE_VOLUMES}" in local.store("store").command
    assert local.STORE_VOLUMES >= 100


def test_the_store_lets_in_only_who_has_the_keys():
    (identity,) = json.loads(local.store_files("a", "s", "CERT", "KEY")["s3.json"])["identities"]
    assert identity["credentials"] == [{"accessKey": "a", "secretKey": "s"}]


def test_the_stores_parts_let_in_only_each_other():
    security = tomllib.loads(local.store_files("a", "s", "CERT", "KEY")["security.toml"])
    own = {"cert": "tls.crt", "key": "tls.key"}
    assert security["grpc"].pop("ca") == own["cert"]
    assert {"master", "volume", "filer", "s3", "admin", "client"} <= set(security["grpc"])
    assert all(table == own for table in security["grpc"].values())
    assert security["https"].pop("client") == {**own, "ca": own["cert"], "enabled": True}
    # With an authority named, a client has to show a certificate of it.
    assert security["https"] == {part: {**own, "ca": own["cert"]} for part in ("master", "volume", "filer", "admin")}


def test_replicas_and_the_gateways_inner_pages_have_no_port():
    assert local.server("server", "digits", "/models/digits", 3).ports == {}
    assert set(local.envoy("gateway", "digits", port=8501, grpc_port=8500).ports) == {"rest", "grpc"}


def test_a_devices_file_is_what_the_program_takes_once_its_port_is_known(tmp_path):
    config = dataclasses.replace(CONFIG, folder=str(tmp_path), cloud=CLOUD)
    file = tmp_path / "config.json"
    file.write_text(local.device_files(config)["config.json"].replace("${port.rest}", "8601"))
    file.chmod(0o600)
    found = settings.load_local(file)
    assert (found.state_directory, found.listen.address, found.listen.port, found.model) == (tmp_path, "127.0.0.1", 8601, "digits")


def test_without_anybody_to_ask_a_device_has_no_fallback():
    assert "fallback" not in local.device_files(CONFIG)["config.json"]


def test_whom_a_device_asks_and_when_is_what_was_asked_for():
    config = dataclasses.replace(CONFIG, cloud=CLOUD)
    told = json.loads(local.device_files(config)["config.json"].replace("${port.rest}", "1"))
    assert told["fallback"] == {"url": "http://127.0.0.1:8501", "min_confidence": 0.8, "timeout_ms": 500}


def test_a_deadline_is_told_only_where_there_is_one_so_that_devices_of_earlier_versions_read_the_rest():
    told = json.loads(
        local.device_files(dataclasses.replace(CONFIG, cloud=dataclasses.replace(CLOUD, deadline_ms=80)))["config.json"].replace(
            "${port.rest}", "1"
        )
    )
    assert told["fallback"]["deadline_ms"] == 80


def test_a_devices_group_is_what_the_program_takes_and_its_password_is_in_a_file_of_its_own(tmp_path):
    files = local.device_files(dataclasses.replace(CONFIG, folder=str(tmp_path), group=GROUP))
    for name, content in files.items():
        (tmp_path / name).write_text(content.replace("${port.rest}", "8601").replace("${directory}", str(tmp_path)))
        (tmp_path / name).chmod(0o600)
    found = settings.load_local(tmp_path / "config.json").group
    assert (found.name, found.broker.host, found.broker.port, found.password()) == ("yard", "127.0.0.1", 1234, "s3cret")
    assert (found.shares_inputs, found.peer_timeout_seconds, found.deadline_seconds) == (True, 0.3, 0.08)
    assert "s3cret" not in files["config.json"]


def test_without_a_group_a_device_is_told_of_none():
    assert local.device_files(CONFIG).keys() == {"config.json"}
    assert "group" not in local.device_files(CONFIG)["config.json"]


def test_what_a_device_is_asked_stays_on_it_unless_somebody_says_otherwise():
    config = dataclasses.replace(CONFIG, group=dataclasses.replace(GROUP, shares_inputs=False))
    assert '"inputs": "stay_on_device"' in local.device_files(config)["config.json"]
