"""DockerServer on a real engine, with a real model."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from isthmus.release.manifest import Release

KIND = "DockerServer"
REST, GRPC = 18511, 18521


@pytest.fixture
def server_inputs(plugin: Any, machine: Any, folder_inputs: Callable[..., Any], docker_cache: Any) -> Callable[..., dict[str, Any]]:
    """Inputs of a DockerServer for a release, which is on the host."""

    def inputs(release: Release) -> dict[str, Any]:
        folder = plugin.create("DockerModelFolder", folder_inputs(release), name=release.digest[7:12])
        return {
            "host": machine.host,
            "service": "times",
            "image": machine.images["serving"],
            "probe_image": machine.images["fetch"],
            "model_name": "times",
            "directory": folder.outputs["directory"],
            "digest": release.digest,
            "cache_directory": str(docker_cache),
            "bind_ip": machine.engine.address,
            "ports": [{"rest": REST, "grpc": GRPC}, {"rest": REST + 1, "grpc": GRPC + 1}],
            "memory_mib": 1500,
            "cpus": 1.5,
            "deadline_seconds": 120,
            "drain_seconds": 5,
        }

    return inputs


def predict(machine: Any, port: int) -> Any:
    url = f"http://{machine.engine.address}:{port}/v1/models/times:predict"
    return json.loads(machine.get(url, "--data", '{"instances": [[1, 2]]}').stdout)["predictions"]


def inspect(machine: Any, id: str) -> Any:
    client = machine.engine.client()
    try:
        return client.api.inspect_container(id)
    finally:
        client.close()


def test_one_that_is_replaced_in_place_survives_the_old_one(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = server_inputs(make_release(2))
    old, new = plugin.create(KIND, inputs), plugin.create(KIND, inputs)
    plugin.delete(old)
    assert plugin.read(new).outputs["status"] == "running"
    assert predict(machine, new.outputs["rest_port"]) == [[2, 4]]


def test_one_that_hangs_is_drift_that_an_update_mends(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = server_inputs(make_release(2))
    server = plugin.create(KIND, inputs)
    assert plugin.read(server).outputs["status"] == "running"
    impatient = {**inputs, "deadline_seconds": 5}
    server = plugin.update(server, impatient)
    client = machine.engine.client()
    client.api.kill(server.id, "STOP")
    client.close()
    found = plugin.read(server)
    assert "not done within 5 s" in found.outputs["status"]
    assert list(plugin.diff(found, impatient).diffs) == ["status"]
    assert plugin.update(found, inputs).outputs["status"] == "running"
    assert predict(machine, REST) == [[2, 4]]


def test_an_update_has_the_new_server_proved_beside_the_old_one(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    before = server_inputs(make_release(2))
    first = plugin.create(KIND, before)
    assert (first.outputs["rest_port"], first.outputs["grpc_port"], first.outputs["status"]) == (REST, GRPC, "running")
    assert predict(machine, REST) == [[2, 4]]
    assert not plugin.diff(plugin.read(first), before).diffs

    after = server_inputs(make_release(3))
    difference = plugin.diff(first, after)
    assert {"digest", "directory"} <= set(difference.replaces)
    assert not difference.deleteBeforeReplace
    second = plugin.create(KIND, after)
    assert second.outputs["rest_port"] == REST + 1
    assert (predict(machine, REST), predict(machine, REST + 1)) == ([[2, 4]], [[3, 6]])

    plugin.delete(first)
    assert predict(machine, REST + 1) == [[3, 6]]
    third = plugin.create(KIND, before, name="third")
    assert third.outputs["rest_port"] == REST
    with pytest.raises(Exception, match=r"host vm-a: no pair of ports is free .* 18511 and 18521 are held by container times-"):
        plugin.create(KIND, before, name="fourth")
    for server in (second, third, third):
        plugin.delete(server)
    assert machine.containers() == []
    assert plugin.read(third) is None


def test_a_server_that_answers_wrong_is_refused_and_leaves_nothing(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = server_inputs(make_release(2, golden_factor=3))
    with pytest.raises(Exception, match=r"host vm-a: the new server of times answers wrong: golden vectors are off by 4, allowed is 0.01"):
        plugin.create(KIND, inputs)
    assert machine.containers() == []


def test_a_server_that_ends_says_why_at_once(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = {**server_inputs(make_release()), "memory_mib": 64}
    with pytest.raises(Exception, match=r"host vm-a: the new server of times ended before it answered \((it needs more memory|status)"):
        plugin.create(KIND, inputs)
    assert machine.containers() == []


def test_a_server_without_its_model_is_given_up_at_the_deadline_with_its_last_words(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = server_inputs(make_release())
    machine.run(f"rm -r {inputs['directory']}/1", inputs["directory"])
    with pytest.raises(Exception, match=r"host vm-a: the new server of times: waiting for the new server: not done within 8 s: .+"):
        plugin.create(KIND, {**inputs, "deadline_seconds": 8})
    assert machine.containers() == []


def test_the_container_may_do_no_more_than_it_has_to_and_is_started_again_where_it_stopped(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release]
) -> None:
    inputs = server_inputs(make_release())
    server = plugin.create(KIND, inputs)
    made = inspect(machine, server.id)
    host = made["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"], host["Privileged"]) == (True, ["ALL"], None, False)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (1500 << 20, 1500 << 20, 1_500_000_000)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "16m", "max-file": "2"}}
    assert made["Config"]["User"] == "65532:65532"
    assert [variable for variable in made["Config"]["Env"] if variable.startswith("MODEL_NAME")] == ["MODEL_NAME=times"]
    (mount,) = made["Mounts"]
    assert (mount["Source"], mount["Destination"], mount["RW"]) == (inputs["directory"], "/models/times", False)
    assert made["HostConfig"]["PortBindings"]["8501/tcp"] == [{"HostIp": machine.engine.address, "HostPort": str(REST)}]
    assert made["Config"]["Labels"]["isthmus.dev/service"] == "times"
    client = machine.engine.client()
    client.api.stop(server.id, timeout=1)
    client.close()
    found = plugin.read(server)
    assert found.outputs["status"] == "exited"
    assert list(plugin.diff(found, inputs).diffs) == ["status"]
    assert plugin.update(found, inputs).outputs["status"] == "running"
    assert predict(machine, REST) == [[2, 4]]


def test_what_a_killed_plugin_left_is_swept_by_the_next_create(
    plugin: Any, machine: Any, server_inputs: Callable[..., Any], make_release: Callable[..., Release], request: pytest.FixtureRequest
) -> None:
    new_plugin, in_background, eventually = map(request.getfixturevalue, ("new_plugin", "in_background", "eventually"))
    inputs = server_inputs(make_release())
    with new_plugin() as doomed:
        creating = in_background(lambda: doomed.create(KIND, inputs))
        eventually(lambda: [c for c in machine.containers(label="isthmus.dev/service=times") if c["State"] == "running"], 60)
        doomed.process.kill()
        assert creating.exception(30) is not None
    server = plugin.create(KIND, inputs)
    assert [container["Id"] for container in machine.containers()] == [server.id]
    assert server.outputs["rest_port"] == REST
