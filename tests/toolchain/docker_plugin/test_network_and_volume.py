"""Networks and volumes on a real engine."""

from typing import Any

import docker
import grpc
import pytest

NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"


def test_a_network_is_what_was_asked_for_and_keeps_the_official_form(wire: Any, client: docker.DockerClient) -> None:
    inputs = {"internal": True, "labels": [{"label": "a", "value": "1"}], "options": {"com.docker.network.bridge.name": "br-test"}}
    network = wire.resource(NETWORK, "inner").create(inputs)
    found = client.networks.get(network.id).attrs
    assert (found["Internal"], found["Labels"], found["Name"]) == (True, {"a": "1"}, network.state.values["name"])
    assert network.inputs.values["__defaults"] == ["ipamDriver", "name"]
    assert network.state.values["__meta"] == '{"schema_version":"1"}'
    assert network.state.values["ipamConfigs"][0]["subnet"]
    assert network.read()
    assert not network.diff(inputs).detailedDiff
    answer = network.diff({**inputs, "internal": False})
    assert (list(answer.replaces), answer.deleteBeforeReplace) == (["internal"], False)
    assert network.diff({**inputs, "name": "fixed"}).deleteBeforeReplace, "two can't have one fixed name"
    client.networks.get(network.id).remove()
    assert not network.read()
    network.delete()


def test_a_network_name_that_is_taken_is_refused(wire: Any) -> None:
    wire.resource(NETWORK).create({"name": "taken"})
    with pytest.raises(grpc.RpcError, match="network taken: creating it: network with name taken already exists"):
        wire.resource(NETWORK).create({"name": "taken"})


def test_a_volume_is_made_found_and_removed(wire: Any, client: docker.DockerClient) -> None:
    inputs = {"labels": [{"label": "a", "value": "1"}]}
    volume = wire.resource(VOLUME, "data").create(inputs)
    assert volume.id.startswith("data-")
    assert volume.state.values["mountpoint"].endswith(f"{volume.id}/_data")
    assert client.volumes.get(volume.id).attrs["Labels"] == {"a": "1"}
    assert volume.read()
    assert not volume.diff(inputs).detailedDiff
    volume.delete()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get(volume.id or "data")


def test_a_volume_that_is_replaced_in_place_survives_the_old_one(wire: Any, client: docker.DockerClient) -> None:
    old, new = (wire.resource(VOLUME).create({"name": "kept"}) for _ in range(2))
    old.delete()
    assert client.volumes.get("kept")
    new.delete()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("kept")


def test_a_volume_of_somebody_else_is_not_taken_over(wire: Any, client: docker.DockerClient) -> None:
    theirs = client.volumes.create("theirs", labels={"owner": "other"})
    try:
        with pytest.raises(grpc.RpcError, match="volume theirs: one with this name and other labels is there already"):
            wire.resource(VOLUME).create({"name": "theirs"})
        assert client.volumes.get("theirs")
    finally:
        theirs.remove()


def test_what_is_not_covered_is_refused_by_name(wire: Any) -> None:
    _, failures = wire.resource(VOLUME).check({"cluster": {"scope": "single"}})
    assert "cluster: is not covered" in failures[0]
    _, failures = wire.resource(NETWORK).check({"scope": "global"})
    assert "scope" in failures[0]
