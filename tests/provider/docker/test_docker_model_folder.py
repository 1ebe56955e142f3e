"""DockerModelFolder on a real engine, from a real store."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from isthmus.plugin.values import encode
from isthmus.release import published
from isthmus.release.manifest import Release
from isthmus.release.store import Store

KIND = "DockerModelFolder"
SECRETS = frozenset({("store", "access_key"), ("store", "secret_key")})


def place(inputs: dict[str, Any]) -> str:
    return f"{inputs['root']}/{inputs['folder']}"


def test_a_release_is_fetched_found_and_removed_with_nothing_left(plugin: Any, machine: Any, folder_inputs: Callable[..., Any]) -> None:
    inputs = folder_inputs()
    assert plugin.preview(KIND, inputs)["directory"] == place(inputs)
    folder = plugin.create(KIND, inputs, secrets=SECRETS)
    assert folder.outputs["version"] == 1
    listed = machine.run(f"cd {place(inputs)} && find . -type f | sort; stat -c %a 1/saved_model.pb; cat monitoring.config", inputs["root"])
    assert "./1/saved_model.pb" in listed
    assert "644" in listed
    assert "enable: true" in listed
    assert machine.containers() == []
    found = plugin.read(folder)
    assert found.outputs["content"] == "complete"
    assert not plugin.diff(found, inputs).diffs
    plugin.delete(folder)
    assert machine.run(f"ls -A {inputs['root']}", inputs["root"]) == ""
    assert plugin.read(folder) is None
    plugin.delete(folder)


def test_one_that_is_replaced_in_place_survives_the_old_one(plugin: Any, machine: Any, folder_inputs: Callable[..., Any]) -> None:
    inputs = folder_inputs()
    old, new = plugin.create(KIND, inputs), plugin.create(KIND, inputs)
    plugin.delete(old)
    assert plugin.read(new).outputs["content"] == "complete"
    new = plugin.update(new, inputs)
    plugin.delete(old)
    assert plugin.read(new).outputs["content"] == "complete"
    plugin.delete(new)
    assert machine.run(f"ls -A {inputs['root']}", inputs["root"]) == ""


def test_credentials_are_in_no_output_and_no_container(
    plugin: Any, machine: Any, folder_inputs: Callable[..., Any], pull: dict[str, str]
) -> None:
    folder = plugin.create(KIND, folder_inputs(), secrets=SECRETS)
    public = {name: value for name, value in folder.outputs.items() if name != "store"}
    assert pull["secret_key"] not in json.dumps(public)
    assert not [text for text in plugin.engine.texts(ephemeral=True) if pull["secret_key"] in text]


@pytest.mark.parametrize("damage", ["rm {}/1/saved_model.pb", "echo x >>{}/1/saved_model.pb", "rm {}/monitoring.config"])
def test_a_damaged_folder_is_drift_that_an_update_mends(plugin: Any, machine: Any, folder_inputs: Callable[..., Any], damage: str) -> None:
    inputs = folder_inputs()
    folder = plugin.create(KIND, inputs)
    machine.run(damage.format(place(inputs)), inputs["root"])
    found = plugin.read(folder)
    assert found.outputs["content"] == "damaged"
    assert list(plugin.diff(found, inputs).diffs) == ["content"]
    assert not plugin.diff(found, inputs).replaces
    assert plugin.read(plugin.update(found, inputs)).outputs["content"] == "complete"


def test_a_tampered_release_is_refused_and_the_next_update_goes_on(
    plugin: Any, machine: Any, folder_inputs: Callable[..., Any], store: Store, make_release: Callable[..., Release]
) -> None:
    release, inputs = make_release(), folder_inputs()
    key = published.folder_key("digits/", release.digest) + "serving/1/saved_model.pb"
    content = store.get(key, max_bytes=1 << 20)
    store.put(key, bytes(len(content)))
    expected = f"host vm-a: release {release.digest} is not what it should be: serving/1/saved_model.pb"
    with pytest.raises(Exception, match=expected) as raised:
        plugin.create(KIND, inputs)
    assert raised.value.outputs["content"] == "damaged"
    assert "1" not in machine.run(f"ls {place(inputs)}", inputs["root"]).split()
    store.put(key, content)
    half_made = type(plugin.create("StoreCredentials", {}))(
        KIND, "it", raised.value.id, plugin.check(KIND, inputs).inputs, encode(raised.value.outputs)
    )
    assert plugin.update(half_made, inputs).outputs["content"] == "complete"
    plugin.delete(half_made)
    assert machine.run(f"ls -A {inputs['root']}", inputs["root"]) == ""


def test_a_store_that_refuses_is_named_without_the_secret(plugin: Any, folder_inputs: Callable[..., Any]) -> None:
    inputs = folder_inputs()
    inputs["store"] = {**inputs["store"], "secret_key": "wrong-secret"}
    with pytest.raises(Exception, match=r"host vm-a: release .* refuses the credentials") as raised:
        plugin.create(KIND, inputs, secrets=SECRETS)
    assert "wrong-secret" not in raised.value.message


def test_an_engine_that_does_not_answer_is_named(plugin: Any, folder_inputs: Callable[..., Any]) -> None:
    inputs = folder_inputs()
    inputs["host"] = {"name": "vm-z", "address": "unix:///nowhere/docker.sock"}
    with pytest.raises(Exception, match=r"host vm-z: cannot reach Docker at unix:///nowhere/docker.sock: No such file or directory"):
        plugin.create(KIND, inputs)


def test_an_image_that_is_not_there_is_named(plugin: Any, folder_inputs: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match=r"host vm-a: there is no image local/nothing:1 on the host"):
        plugin.create(KIND, {**folder_inputs(), "image": "local/nothing:1"})


def test_a_folder_that_another_resource_has_taken_over_is_left(plugin: Any, machine: Any, folder_inputs: Callable[..., Any]) -> None:
    inputs = folder_inputs()
    before = plugin.create(KIND, inputs, name="before")
    plugin.create(KIND, inputs, name="after")
    plugin.delete(before)
    assert "saved_model.pb" in machine.run(f"ls {place(inputs)}/1", inputs["root"])


def test_everything_wrong_with_the_arguments_is_said_at_once(plugin: Any, folder_inputs: Callable[..., Any]) -> None:
    wrong = {"host": {"name": "a", "address": "tcp://1.2.3.4"}, "root": "/a/../b", "folder": "../x", "digest": "latest", "prefix": "x"}
    found = plugin.problems(KIND, {**folder_inputs(), **wrong})
    assert [text.split(": ")[0] for text in found] == ["host.address", "digest", "prefix", "root", "folder"]
