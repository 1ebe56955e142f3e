"""FleetRepository and LocalDevices against a real store."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.release.store import RefusedCredentialsError, Store, StoreAddress
from isthmus.repository import ceremony, roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus_agent.formats.sealed_contents import content_key
from isthmus_agent.manager.enrolment import enrolled

pytestmark = pytest.mark.slow

SECRETS = frozenset({("store", "access_key"), ("store", "secret_key")})
DEVICES = [{"name": f"camera-{number}", "class": "default", "labels": {"site": "a"}} for number in (1, 2)]


@pytest.fixture
def opened(store: dict[str, str]) -> Store:
    found = Store(StoreAddress.from_inputs(store), f"models-{uuid.uuid4().hex[:8]}")
    found.ensure_bucket()
    return found


@pytest.fixture
def inputs(opened: Store, store: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    place = {"store": store, "bucket": opened.bucket, "prefix": "cameras/", "fleet": "cameras", "keys": str(tmp_path / "keys")}
    return {**place, "make_keys": True, "owner": "acme/shop/dev"}


@pytest.fixture
def devices(inputs: dict[str, Any], stack_store: Any, tmp_path: Path) -> dict[str, Any]:
    place = {name: inputs[name] for name in ("store", "bucket", "prefix", "fleet", "keys")}
    return {**place, "directory": str(tmp_path / "devices"), "devices": DEVICES, "identities": stack_store.identities}


def names(inputs: dict[str, Any], opened: Store) -> list[str]:
    """The devices of the roster."""
    found = roster.read(Place(opened, inputs["prefix"]), Keyring.load(Path(inputs["keys"])), "cameras")
    assert not found.pending
    return [device.name for device in found.devices]


def own(devices: dict[str, Any], opened: Store, name: str) -> Store:
    """The store as a device sees it."""
    found = enrolled(Path(devices["directory"]) / name)
    assert found is not None
    address = {**devices["store"], "access_key": found.access_key, "secret_key": found.secret_key}
    return Store(StoreAddress.from_inputs(address), opened.bucket)


def refused(call: Callable[[], Any]) -> bool:
    """Whether the store refuses it."""
    try:
        call()
    except RefusedCredentialsError:
        return True
    return False


def test_a_repository_is_made_found_and_deleted_and_its_keys_are_in_no_state(
    plugin: Any, inputs: dict[str, Any], opened: Store, tmp_path: Path
) -> None:
    plugin.preview("FleetRepository", inputs)
    assert not (tmp_path / "keys").exists()
    made = plugin.create("FleetRepository", inputs, secrets=SECRETS)
    assert opened.tag("cameras/metadata/timestamp.json")
    assert len(made.outputs["root_sha256"]) == 64
    assert plugin.read(made).outputs == made.outputs
    written = [file.read_text() for file in (tmp_path / "keys").iterdir() if file.suffix in {".pem", ".secret"}]
    assert written
    assert all(text not in str(made) for text in written)
    plugin.delete(made)
    assert opened.list("") == []
    assert not (tmp_path / "keys").exists()
    assert plugin.read(made) is None
    plugin.delete(made)


def test_a_key_ring_is_made_only_where_that_was_asked_for(plugin: Any, inputs: dict[str, Any], tmp_path: Path) -> None:
    asked = {**inputs, "make_keys": False}
    (problem,) = plugin.problems("FleetRepository", asked)
    assert problem.startswith("keys: ")
    assert f"isthmus keys init cameras --keys {tmp_path / 'keys'}" in problem
    ceremony.init(tmp_path / "keys", ["doors"])
    (problem,) = plugin.problems("FleetRepository", asked)
    assert "has no fleet 'cameras'; expected one of doors" in problem
    assert f"isthmus keys add cameras --keys {tmp_path / 'keys'}" in problem


def test_a_prefix_of_another_stack_and_a_repository_of_other_keys_are_left_alone(
    plugin: Any, inputs: dict[str, Any], opened: Store, tmp_path: Path
) -> None:
    made = plugin.create("FleetRepository", {**inputs, "owner": "acme/shop/prod"})
    before = opened.list("")
    (problem,) = plugin.problems("FleetRepository", {**inputs, "check_at_preview": True})
    assert "belongs to acme/shop/prod" in problem
    with pytest.raises(Exception, match="belongs to acme/shop/prod"):
        plugin.create("FleetRepository", inputs)
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(Exception, match="is not of this key ring"):
        plugin.create("FleetRepository", {**inputs, "owner": "acme/shop/prod"})
    assert [key for key in opened.list("") if "/making" not in key] == [key for key in before if "/making" not in key]
    plugin.delete(made)


def test_devices_here_are_enrolled_once_and_see_what_is_theirs_and_nothing_else(
    plugin: Any, inputs: dict[str, Any], devices: dict[str, Any], opened: Store
) -> None:
    repository = plugin.create("FleetRepository", inputs)
    made = plugin.create("LocalDevices", devices, secrets=SECRETS)
    assert names(inputs, opened) == ["camera-1", "camera-2"]
    store = own(devices, opened, "camera-1")
    assert store.tag("cameras/metadata/timestamp.json")
    assert refused(lambda: store.list("cameras/"))
    assert refused(lambda: store.put("cameras/metadata/timestamp.json", b"{}"))
    assert all(key not in str(made) for key in (store.address.secret_key, store.address.access_key))
    again = plugin.update(made, devices)
    assert again.outputs["marks"] == made.outputs["marks"]
    plugin.delete(again)
    assert names(inputs, opened) == []
    assert not Path(devices["directory"]).exists()
    plugin.delete(repository)
    assert opened.list("") == []


def test_a_device_that_comes_goes_or_changes_disturbs_no_other(
    plugin: Any, inputs: dict[str, Any], devices: dict[str, Any], opened: Store, eventually: Callable[..., Any]
) -> None:
    plugin.create("FleetRepository", inputs)
    made = plugin.create("LocalDevices", devices)
    third = {"name": "camera-3", "class": "small", "labels": {}}
    moved = {**DEVICES[0], "labels": {"site": "b"}}
    changed = plugin.update(made, {**devices, "devices": [moved, DEVICES[1], third]})
    before, after = made.outputs["marks"], changed.outputs["marks"]
    assert after["camera-2"] == before["camera-2"]
    assert after["camera-1"] != before["camera-1"]
    assert names(inputs, opened) == ["camera-1", "camera-2", "camera-3"]
    assert own(devices, opened, "camera-3").tag("cameras/metadata/timestamp.json")
    former = own(devices, opened, "camera-1")
    fewer = plugin.update(changed, {**devices, "devices": [DEVICES[1]]})
    assert names(inputs, opened) == ["camera-2"]
    assert fewer.outputs["marks"] == {"camera-2": before["camera-2"]}
    assert eventually(lambda: refused(lambda: former.tag("cameras/metadata/timestamp.json")))


def test_a_device_that_lost_its_enrolment_or_its_way_in_is_mended(
    plugin: Any, inputs: dict[str, Any], devices: dict[str, Any], opened: Store, stack_store: Any
) -> None:
    plugin.create("FleetRepository", inputs)
    made = plugin.create("LocalDevices", devices)
    for lose in (lambda: shutil.rmtree(Path(devices["directory"]) / "camera-2"), stack_store.forget_devices):
        assert not plugin.diff(made, devices).diffs
        lose()
        assert list(plugin.diff(made, devices).diffs) == ["marks"]
        made = plugin.update(made, devices)
        assert own(devices, opened, "camera-2").tag("cameras/metadata/timestamp.json")
    assert plugin.read(made).outputs == made.outputs
    keys = Path(devices["keys"])
    roster.renew_secret("cameras", keys)
    found = plugin.read(made)
    assert list(plugin.diff(found, devices).diffs) == ["marks"]
    made = plugin.update(found, devices)
    assert plugin.read(made).outputs == made.outputs
    secret = roster.fleet_secret(roster.secret_uri("cameras"), keys)
    given = enrolled(Path(devices["directory"]) / "camera-2")
    assert given is not None
    assert given.content_key == content_key(secret, "cameras")


def test_devices_of_a_repository_that_was_lost_begin_anew_in_the_next_one(
    plugin: Any, inputs: dict[str, Any], devices: dict[str, Any], opened: Store
) -> None:
    plugin.create("FleetRepository", inputs)
    made = plugin.create("LocalDevices", devices)
    remembered = Path(devices["directory"]) / "camera-1" / "metadata-of-then"
    remembered.write_text("a later version than the next repository has")
    opened.delete(opened.list("cameras/"))
    plugin.create("FleetRepository", inputs)
    assert plugin.update(made, devices).outputs["marks"] != made.outputs["marks"]
    assert not remembered.exists()
    assert names(inputs, opened) == ["camera-1", "camera-2"]


def test_devices_go_also_where_their_fleets_keys_are_not_here_any_more(
    plugin: Any, inputs: dict[str, Any], devices: dict[str, Any], opened: Store
) -> None:
    plugin.create("FleetRepository", inputs)
    made = plugin.create("LocalDevices", devices)
    shutil.rmtree(inputs["keys"])
    plugin.delete(made)
    assert not Path(devices["directory"]).exists()
    assert "stay on the roster of fleet cameras" in plugin.engine.texts(ephemeral=False)[-1]


def test_everything_wrong_with_the_arguments_is_said_at_once(plugin: Any, inputs: dict[str, Any], devices: dict[str, Any]) -> None:
    found = plugin.problems("FleetRepository", {**inputs, "store": {**inputs["store"], "endpoint": "not a url"}, "prefix": "x"})
    assert [text.split(": ")[0] for text in found] == ["store.endpoint", "prefix"]
    wrong = [{**DEVICES[0], "name": "../b", "class": "?"}, DEVICES[0], {**DEVICES[0], "labels": {"": "x"}}]
    found = plugin.problems("LocalDevices", {**{k: it for k, it in devices.items() if k != "identities"}, "devices": wrong})
    assert [text.split(": ")[0] for text in found] == [
        "access",
        *("devices[0].name", "devices[0].class", "devices[2].labels", "devices[2].name"),
    ]
