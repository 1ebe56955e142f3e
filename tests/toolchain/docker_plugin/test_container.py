"""Containers on a real engine, by way of gRPC."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import docker
import grpc
import pytest
from toolchain.docker_engine.hosts import Site

from isthmus.plugin.bags.bag import Bag

IMAGE = "local/busybox:test"
ANYWHERE = "0.0.0.0"  # noqa: S104 the official default
SLEEP = {"image": IMAGE, "command": ["sleep", "1000"], "destroyGraceSeconds": 0}


def _changed(answer: Any) -> dict[str, bool]:
    """Of a diff: what changed, and whether it replaces."""
    return {path: "REPLACE" in type(diff).Kind.Name(diff.kind) for path, diff in answer.detailedDiff.items()}


def test_a_full_container_is_what_was_asked_for(
    wire: Any, client: docker.DockerClient, site: Site, eventually: Callable[..., None]
) -> None:
    inputs = {
        "image": IMAGE,
        "command": ["-f", "-p", "80", "-h", "/www"],
        "entrypoints": ["httpd"],
        "envs": ["A=1"],
        "ports": [{"internal": 80, "external": 8501}],
        "restart": "unless-stopped",
        "memory": 64,
        "cpus": "0.5",
        "securityOpts": ["no-new-privileges:true"],
        "capabilities": {"drops": ["ALL"], "adds": ["NET_BIND_SERVICE"]},
        "user": "0:0",
        "logDriver": "json-file",
        "logOpts": {"max-size": "1m", "max-file": "2"},
        "labels": [{"label": "team", "value": "vision"}],
        "hostname": "web",
        "init": True,
        "tmpfs": {"/scratch": "size=1m"},
        "ulimits": [{"name": "nofile", "soft": 100, "hard": 200}],
        "hosts": [{"host": "store", "ip": "10.88.0.1"}],
        "stopSignal": "SIGKILL",
        "uploads": [
            {"file": "/www/index.html", "content": "hello\n"},
            {"file": "/run.sh", "contentBase64": base64.b64encode(b"#!/bin/sh\n").decode(), "executable": True},
        ],
        "healthcheck": {"tests": ["CMD", "wget", "-qO-", "http://127.0.0.1/"], "interval": "200ms", "retries": 100},
        "wait": True,
        "waitTimeout": 60,
    }
    web = wire.resource().create(inputs)
    assert web.reasons == ()
    found = client.containers.get(web.id)
    assert found.status == "running"
    assert found.attrs["State"]["Health"]["Status"] == "healthy"
    host = found.attrs["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["Init"]) == (64 << 20, 5 * 10**8, True)
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    assert found.labels["team"] == "vision"
    assert client.containers.get(web.id).exec_run(["stat", "-c", "%a", "/run.sh"]).output == b"744\n"
    fetch = [sys.executable, "-c", f"import requests; print(requests.get('http://{site[0].address}:8501').text)"]
    eventually(lambda: "hello" in subprocess.run(site.enter(fetch), capture_output=True, text=True, check=False).stdout, "it answers")
    assert web.state.values["networkDatas"][0]["networkName"] == "bridge"
    assert web.state.values["ports"] == [{"internal": 80, "external": 8501, "ip": ANYWHERE, "protocol": "tcp"}]
    assert web.read()
    assert web.diff(inputs).changes == 1, "DIFF_NONE after a refresh"
    web.delete()
    assert client.containers.list(all=True, filters={"name": found.name}) == []


def test_inputs_and_state_have_the_official_plugins_form(wire: Any) -> None:
    box = wire.resource(name="box").create({**SLEEP, "ports": [{"internal": 80}]})
    assert box.inputs.values["__defaults"] == [
        *("attach", "containerReadRefreshTimeoutMilliseconds", "logs", "memoryReservation", "mustRun", "name", "networkMode", "readOnly"),
        *("removeVolumes", "restart", "rm", "start", "stdinOpen", "tty", "wait", "waitTimeout"),
    ]
    assert box.inputs.values["name"].startswith("box-")
    assert box.inputs.values["ports"] == [{"internal": 80, "ip": ANYWHERE, "protocol": "tcp", "__defaults": ["ip", "protocol"]}]
    minutes = 1_200_000_000_000
    timeouts = {"create": minutes, "delete": minutes, "update": minutes}
    assert json.loads(box.state.values["__meta"]) == {"schema_version": "2", "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0": timeouts}
    assert "__defaults" not in json.dumps({**box.state.values, "__meta": ""})
    assert box.state.values["ports"][0]["external"] > 0, "the port that Docker chose"
    assert box.checked({**SLEEP}).values["name"] == box.inputs.values["name"], "an automatic name stays"


def test_what_docker_can_change_in_place_is_changed_in_place(wire: Any, client: docker.DockerClient) -> None:
    inputs = {**SLEEP, "memory": 32, "restart": "no"}
    box = wire.resource().create(inputs)
    wanted = {**inputs, "memory": 48, "restart": "always", "cpuShares": 512, "destroyGraceSeconds": 1}
    answer = box.diff(wanted)
    assert _changed(answer) == {"memory": False, "restart": False, "cpuShares": False, "destroyGraceSeconds": False}
    assert not answer.deleteBeforeReplace
    before = box.id
    box.update(wanted)
    host = client.containers.get(before).attrs["HostConfig"]
    assert (host["Memory"], host["RestartPolicy"]["Name"], host["CpuShares"]) == (48 << 20, "always", 512)
    assert box.read()
    assert _changed(box.diff(wanted)) == {}


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"envs": ["A=2"]}, {"envs"}),
        ({"image": "local/other:1"}, {"image"}),
        ({"ports": [{"internal": 81}]}, {"ports[0].internal"}),
        ({"readOnly": True}, {"readOnly"}),
        ({"memory": None}, {"memory"}),
        ({"healthcheck": {"tests": ["NONE"]}}, {"healthcheck"}),
    ],
)
def test_what_docker_cannot_change_in_place_replaces_and_deletes_first(wire: Any, change: dict[str, Any], paths: set[str]) -> None:
    inputs = {**SLEEP, "envs": ["A=1", "B=1"], "ports": [{"internal": 80}], "memory": 32, "start": False}
    box = wire.resource().create(inputs)
    answer = box.diff({key: value for key, value in {**inputs, **change}.items() if value is not None})
    assert _changed(answer) == dict.fromkeys(paths, True)
    assert answer.deleteBeforeReplace
    assert _changed(box.diff({**inputs, "envs": ["B=1", "A=1"]})) == {}, "the order of a set means nothing"


def test_a_stopped_container_is_found_and_started_again(wire: Any, client: docker.DockerClient) -> None:
    box = wire.resource().create(SLEEP)
    assert _changed(box.diff(SLEEP)) == {}
    client.containers.get(box.id).stop(timeout=0)
    assert box.read()
    assert box.state.values["mustRun"] is False
    assert box.state.values["exitCode"] == 137
    assert _changed(box.diff(SLEEP)) == {"mustRun": False}
    box.update(SLEEP)
    assert client.containers.get(box.id).status == "running"
    assert box.state.values["mustRun"] is True


def test_limits_changed_by_hand_are_drift(wire: Any, client: docker.DockerClient) -> None:
    box = wire.resource().create({**SLEEP, "memory": 32})
    client.containers.get(box.id).update(mem_limit="64m", memswap_limit="128m")
    assert box.read()
    assert _changed(box.diff({**SLEEP, "memory": 32})) == {"memory": False}


def test_a_deleted_container_is_found_to_be_gone_and_its_delete_is_no_error(wire: Any, client: docker.DockerClient) -> None:
    box = wire.resource().create(SLEEP)
    client.containers.get(box.id).remove(force=True)
    assert not box.read()
    box.delete()


def test_a_container_whose_start_fails_is_kept_and_the_next_update_starts_it(wire: Any, client: docker.DockerClient) -> None:
    blocker = client.containers.run(IMAGE, ["sleep", "1000"], ports={"80/tcp": 8600}, detach=True)
    try:
        inputs = {**SLEEP, "ports": [{"internal": 80, "external": 8600}]}
        box = wire.resource().create(inputs)
        assert len(box.reasons) == 1
        assert "port is already allocated" in box.reasons[0]
        assert box.inputs.values["name"] in box.reasons[0]
        assert "Docker at unix://" in box.reasons[0]
        assert "\n" not in box.reasons[0]
        assert client.containers.get(box.id).status == "created"
        assert box.state.values["mustRun"] is False
    finally:
        blocker.remove(force=True)
    box.update(inputs)
    assert box.reasons == ()
    assert client.containers.get(box.id).status == "running"


def test_a_container_that_does_not_become_healthy_says_what_its_check_says(wire: Any) -> None:
    check = {"tests": ["CMD-SHELL", "echo no model yet; false"], "interval": "100ms", "retries": 1000}
    box = wire.resource().create({**SLEEP, "healthcheck": check, "wait": True, "waitTimeout": 2})
    assert "not healthy within 2 s" in box.reasons[0]
    assert "no model yet" in box.reasons[0]
    assert box.id


def test_waiting_for_a_container_that_ends_does_not_wait_for_the_deadline(wire: Any) -> None:
    command = ["sh", "-c", "echo cannot open /models >&2; exit 3"]
    box = wire.resource().create(
        {"image": IMAGE, "command": command, "healthcheck": {"tests": ["CMD", "true"]}, "wait": True, "waitTimeout": 600}
    )
    assert "ended with status 3; its last words: cannot open /models" in box.reasons[0]


def test_attach_waits_for_the_end_and_keeps_the_logs(wire: Any) -> None:
    inputs = {"image": IMAGE, "command": ["sh", "-c", "echo done; exit 4"], "attach": True, "logs": True, "mustRun": False}
    job = wire.resource().create(inputs)
    assert (job.state.values["containerLogs"], job.state.values["exitCode"]) == ("done\n", 4)
    assert _changed(job.diff(inputs)) == {}


def test_secrets_stay_secret_in_state_and_out_of_errors(wire: Any) -> None:
    secret = "correct-horse-battery"
    inputs = {"image": IMAGE, "command": ["sh", "-c", "echo $KEY; exit 1"], "envs": [f"KEY={secret}", "B=1"], "wait": True}
    inputs["healthcheck"] = {"tests": ["CMD", "true"]}
    box = wire.resource().create(inputs, frozenset({("envs", 0)}))
    assert ("envs", 0) in box.state.secrets
    assert box.state.values["envs"][0] == f"KEY={secret}"
    assert secret not in box.reasons[0]


def test_an_image_that_cannot_be_pulled_is_named_and_nothing_is_made(wire: Any, client: docker.DockerClient) -> None:
    before = client.containers.list(all=True)
    with pytest.raises(grpc.RpcError, match=r"image registry\.invalid/no/such:1: pulling it: .*registry\.invalid"):
        wire.resource().create({**SLEEP, "image": "registry.invalid/no/such:1"})
    assert client.containers.list(all=True) == before


def test_a_container_left_by_an_interrupted_update_is_replaced_but_nobody_elses(wire: Any, client: docker.DockerClient) -> None:
    inputs = {**SLEEP, "name": "fixed"}
    lost = wire.resource(name="box").create(inputs)
    again = wire.resource(name="box").create(inputs)
    lost_id, lost.id = lost.id, ""
    assert again.id != lost_id
    with pytest.raises(grpc.RpcError, match=r"container fixed: creating it: .*already in use"):
        wire.resource(name="another").create(inputs)
    assert client.containers.get(again.id).status == "running"


def test_a_container_whose_upload_fails_is_taken_away_again(wire: Any, client: docker.DockerClient, tmp_path: Any) -> None:
    with pytest.raises(grpc.RpcError, match="absent: No such file"):
        wire.resource().create({**SLEEP, "name": "half", "uploads": [{"file": "/x", "source": str(tmp_path / "absent")}]})
    assert client.containers.list(all=True, filters={"name": "half"}) == []


def test_everything_wrong_is_said_at_once_and_what_is_not_covered_is_refused_by_name(wire: Any) -> None:
    _, failures = wire.resource().check(
        {
            "image": IMAGE,
            "gpus": "all",
            "devices": [{"hostPath": "/dev/kvm"}],
            "mounts": [{"target": "/a", "type": "volume", "volumeOptions": {"subpath": "x"}}],
            "comand": ["typo"],
            "memory": "64m",
        }
    )
    text = "\n".join(failures)
    for part in ("gpus: is not covered", "devices: is not covered", "mounts[0].volumeOptions.subpath: is not covered", "comand", "memory"):
        assert part in text
    _, failures = wire.resource().check({"image": IMAGE, "restart": "sometimes", "cpus": "two", "healthcheck": {"interval": "5"}})
    assert len(failures) == 3
    _, failures = wire.resource().check({"image": IMAGE, "readOnly": True, "uploads": [{"file": "/a", "content": "a"}]})
    assert "read-only container" in failures[0]


def test_a_preview_makes_nothing_and_takes_unknown_inputs(wire: Any, client: docker.DockerClient) -> None:
    from isthmus.plugin.values import UNKNOWN

    before = client.containers.list(all=True)
    state: Bag = wire.resource().preview({"image": UNKNOWN, "envs": UNKNOWN, "ports": [{"internal": UNKNOWN}]})
    assert state.values["bridge"] is UNKNOWN
    assert client.containers.list(all=True) == before


def test_an_unreachable_host_is_named_with_a_way_to_test_it(wires: Callable[[dict[str, Any]], Any]) -> None:
    wire = wires({"host": "unix:///nowhere/docker.sock"})
    expected = r"Docker at unix:///nowhere/docker\.sock can't be reached: No such file.* docker -H unix:///nowhere/docker\.sock version"
    with pytest.raises(grpc.RpcError, match=expected):
        wire.resource().create(SLEEP)


def test_two_containers_meet_in_a_network_of_their_own_and_share_a_volume(wire: Any, client: docker.DockerClient) -> None:
    network = wire.resource("docker:index/network:Network").create({"ipamConfigs": [{"subnet": "10.99.0.0/24"}]})
    volume = wire.resource("docker:index/volume:Volume").create({})
    name = network.state.values["name"]
    page = {"image": IMAGE, "mounts": [{"type": "volume", "source": volume.id, "target": "/www"}]}
    serve = ["sh", "-c", "echo shared >/www/index.html; exec httpd -f -h /www"]
    web = wire.resource().create(
        {**page, "command": serve, "networksAdvanced": [{"name": name, "ipv4Address": "10.99.0.9", "aliases": ["web"]}]}
    )
    ask = "for i in $(seq 50); do wget -qO- http://10.99.0.9/ && break; sleep 0.1; done; cat /www/index.html"
    once = {"command": ["sh", "-c", ask], "attach": True, "logs": True, "mustRun": False}
    job = wire.resource().create({**page, **once, "networksAdvanced": [{"name": name}]})
    assert job.state.values["containerLogs"].splitlines()[-2:] == ["shared", "shared"]
    networks = client.containers.get(web.id).attrs["NetworkSettings"]["Networks"]
    assert list(networks) == [name], "the default network is left"
    assert "web" in networks[name]["Aliases"]
    assert web.state.values["networkDatas"][0]["ipAddress"] == "10.99.0.9"
