"""Images on a real engine that has no registry, and one that answers what a registry's refusal looks like."""

import uuid
from collections.abc import Iterator
from typing import Any

import docker
import grpc
import pytest

TYPE = "docker:index/remoteImage:RemoteImage"


@pytest.fixture
def local(client: docker.DockerClient) -> Iterator[str]:
    """The name of an image that only this engine has."""
    name = f"local/{uuid.uuid4().hex[:8]}:1"
    client.images.get("local/busybox:test").tag(name)
    yield name
    for tag in client.images.list(name=name.partition(":")[0]):
        for text in tag.tags:
            if text.startswith(name.partition(":")[0]):
                client.images.remove(text)


def test_a_local_image_is_used_as_it_is_and_removed_with_its_resource(wire: Any, client: docker.DockerClient, local: str) -> None:
    image = wire.resource(TYPE).create({"name": local})
    assert image.state.values["imageId"] == client.images.get(local).id
    assert image.id == image.state.values["imageId"] + local
    assert image.inputs.values["__defaults"] == ["platform"]
    assert image.read()
    image.delete()
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(local)


def test_an_image_that_is_kept_or_whose_name_has_moved_on_is_left_alone(wire: Any, client: docker.DockerClient, local: str) -> None:
    wire.resource(TYPE).create({"name": local, "keepLocally": True}).delete()
    assert client.images.get(local)
    moved = wire.resource(TYPE).create({"name": local})
    moved.state.values["imageId"] = "sha256:another"
    moved.delete()
    assert client.images.get(local)


def test_an_image_removed_by_hand_is_found_to_be_gone(wire: Any, client: docker.DockerClient, local: str) -> None:
    image = wire.resource(TYPE).create({"name": local})
    client.images.remove(local)
    assert not image.read()


def test_a_pull_that_fails_names_image_and_registry(wire: Any) -> None:
    with pytest.raises(grpc.RpcError, match=r"image registry\.invalid/tensorflow/serving@sha256:0{64}: pulling it: .*registry\.invalid"):
        wire.resource(TYPE).create({"name": f"registry.invalid/tensorflow/serving@sha256:{'0' * 64}"})


def test_a_trigger_replaces_the_old_image_first_and_another_name_the_new_one_first(wire: Any, local: str) -> None:
    image = wire.resource(TYPE).create({"name": local})
    answer = image.diff({"name": local, "pullTriggers": ["2"]})
    assert (list(answer.replaces), answer.deleteBeforeReplace) == (["pullTriggers"], True)
    answer = image.diff({"name": "local/another:1"})
    assert (list(answer.replaces), answer.deleteBeforeReplace) == (["name"], False)
    assert not image.diff({"name": local, "keepLocally": True}).replaces


def test_builds_are_refused_by_name(wire: Any) -> None:
    _, failures = wire.resource(TYPE).check({"name": "a", "build": {"context": "."}})
    assert len(failures) == 1
    assert "build: is not covered" in failures[0]
