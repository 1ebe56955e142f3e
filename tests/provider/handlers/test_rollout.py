"""Rollout against a real store, with devices that only write reports."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.release import fleet, signing
from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress


@pytest.fixture
def inputs(plugin: Any, store: dict[str, str], make_release: Callable[..., Release], cache_directory: Path) -> dict[str, Any]:
    bucket = f"fleet-{uuid.uuid4().hex[:8]}"
    plugin.create("Bucket", {"store": store, "bucket": bucket})
    shared = {
        "store": store,
        "bucket": bucket,
        "prefix": "cameras/",
        "digest": make_release().digest,
        "private_key": signing.generate_key().private_pem,
    }
    plugin.create("SignedBundle", {**shared, "cache_directory": str(cache_directory)})
    return {**shared, "fleet": "cameras", "devices": ["a", "b"], "deadline_seconds": 20}


@pytest.fixture
def devices(inputs: dict[str, Any], devices_of: Callable[[dict[str, Any]], Any]) -> Any:
    return devices_of(inputs)


def test_it_waits_until_every_device_confirms(
    plugin: Any, inputs: dict[str, Any], devices: Any, in_background: Any, eventually: Any
) -> None:
    assert plugin.preview("Rollout", inputs)["confirmed"] == ["a", "b"]
    devices.answers["a"] = "serving"
    rolling = in_background(lambda: plugin.create("Rollout", inputs))
    eventually(lambda: any("1 of 2 devices confirmed; waiting for b" in text for text in plugin.engine.texts(ephemeral=True)))
    assert not rolling.done()
    devices.answers["b"] = "serving"
    rollout = rolling.result(20)
    assert (rollout.outputs["attempt"], rollout.outputs["confirmed"]) == (1, ["a", "b"])
    assert plugin.read(rollout).outputs == rollout.outputs


def test_it_fails_with_the_reason_of_each_device_and_tries_again_under_a_new_number(
    plugin: Any, inputs: dict[str, Any], devices: Any
) -> None:
    devices.answers.update(a="serving", b="refused")
    with pytest.raises(Exception, match="b refused: wrong digest") as caught:
        plugin.create("Rollout", {**inputs, "devices": ["a", "b", "c"], "deadline_seconds": 2})
    error: Any = caught.value
    assert error.reasons == ["b refused: wrong digest", "c did not confirm within 2 s: silent"]
    assert (error.properties["attempt"], error.properties["confirmed"]) == (1, ["a"])

    devices.answers.update(b="serving")
    checked = plugin.check("Rollout", inputs).inputs
    from isthmus.plugin.values import encode

    half_made = type(plugin.create("StoreCredentials", {}))("Rollout", "it", error.id, checked, encode(error.properties))
    assert plugin.update(half_made, inputs).outputs["attempt"] == 2


def test_a_device_that_lost_the_release_is_drift(plugin: Any, inputs: dict[str, Any], devices: Any) -> None:
    devices.answers.update(a="serving", b="serving")
    rollout = plugin.create("Rollout", inputs)
    devices.change("b", "starting", fleet.Target("cameras", 1, inputs["digest"], "digits"))
    found = plugin.read(rollout)
    assert found.outputs["confirmed"] == ["a"]
    assert dict(plugin.diff(found, inputs).detailedDiff).keys() == {"confirmed"}


def test_a_target_that_was_taken_away_is_gone_and_a_dead_store_is_too(
    plugin: Any, inputs: dict[str, Any], devices: Any, dead_store: dict[str, str]
) -> None:
    devices.answers.update(a="serving", b="serving")
    rollout = plugin.create("Rollout", inputs)
    plugin.delete(rollout)
    assert plugin.read(rollout) is None
    checked = plugin.check("Rollout", {**inputs, "store": dead_store}).inputs
    unreachable = type(rollout)("Rollout", "it", rollout.id, checked, checked)
    assert plugin.read(unreachable) is None
    plugin.delete(unreachable)


def test_no_device_is_told_of_a_bundle_that_is_not_there(plugin: Any, inputs: dict[str, Any], make_release: Callable[..., Release]) -> None:
    with pytest.raises(Exception, match="is not in the store"):
        plugin.create("Rollout", {**inputs, "digest": make_release(b"never uploaded").digest})
    store = Store(StoreAddress.from_inputs(inputs["store"]), inputs["bucket"])
    assert fleet.read_target(store, inputs["prefix"], signing.public_key(inputs["private_key"])) is None


def test_devices_are_checked_all_at_once(plugin: Any, inputs: dict[str, Any]) -> None:
    found = plugin.problems("Rollout", {**inputs, "devices": ["a", "a", "../b"]})
    assert [text.split(": ")[0] for text in found] == ["devices[1]", "devices[2]"]
