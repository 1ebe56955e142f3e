"""Rollout against a real store, with devices that only write reports."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.plugin.values import decode, encode
from isthmus.release import fleet, signing
from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow


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
    assert (error.outputs["attempt"], error.outputs["confirmed"]) == (1, ["a"])

    devices.answers.update(b="serving")
    checked = plugin.check("Rollout", inputs).inputs
    from isthmus.plugin.values import encode

    half_made = type(plugin.create("StoreCredentials", {}))("Rollout", "it", error.id, checked, encode(error.outputs))
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


@pytest.mark.parametrize("attempt", [2**52, 10**400], ids=["large", "huge"])
def test_a_device_that_reports_what_no_fleet_has_counted_to_does_not_stop_the_fleet(
    plugin: Any, inputs: dict[str, Any], devices: Any, attempt: int
) -> None:
    devices.answers.update(a="serving", b="serving")
    store = Store(StoreAddress.from_inputs(inputs["store"]), inputs["bucket"])
    report = fleet.Report("a", inputs["fleet"], inputs["digest"], attempt, "serving")
    store.put(f"{inputs['prefix']}reports/a.json", report.to_bytes())
    assert plugin.create("Rollout", inputs).outputs["attempt"] == 1


def test_two_fleets_of_one_program_do_not_have_one_target(plugin: Any, inputs: dict[str, Any]) -> None:
    assert plugin.problems("Rollout", inputs) == []
    (problem,) = plugin.problems("Rollout", {**inputs, "fleet": "lorries"}, name="other")
    assert problem.startswith("prefix: is that of urn:pulumi:test::project::")
    assert plugin.problems("Rollout", {**inputs, "prefix": "lorries/", "fleet": "lorries"}, name="other") == []


def test_two_stacks_of_one_fleet_do_not_meet(plugin: Any, inputs: dict[str, Any], devices: Any) -> None:
    devices.answers.update(a="serving", b="serving")
    rollout = plugin.create("Rollout", inputs)
    theirs = {**inputs, "owner": "acme/shop/prod"}
    with pytest.raises(Exception, match="belongs to organization/project/test"):
        plugin.create("Rollout", theirs)
    foreign = plugin.check("Rollout", theirs).inputs
    plugin.delete(type(rollout)("Rollout", "it", rollout.id, foreign, foreign))
    assert plugin.read(rollout).outputs == rollout.outputs


def test_of_two_who_roll_out_at_once_one_gets_the_number_and_the_other_is_told(
    plugin: Any, inputs: dict[str, Any], make_release: Callable[..., Release], cache_directory: Path, in_background: Any
) -> None:
    other = make_release(b"other weights").digest
    plugin.create("SignedBundle", {**bundle_of(inputs), "digest": other, "cache_directory": str(cache_directory)})
    store = Store(StoreAddress.from_inputs(inputs["store"]), inputs["bucket"])
    public_key = signing.public_key(inputs["private_key"])
    both = [{**inputs, "digest": digest, "deadline_seconds": 3} for digest in (inputs["digest"], other)]
    for _ in range(3):
        running = [in_background(lambda one=one: plugin.create("Rollout", one)) for one in both]
        errors = [future.exception(60) for future in running]
        target = fleet.read_target(store, inputs["prefix"], public_key)
        assert target is not None
        for one, error in zip(both, errors, strict=True):
            if one["digest"] == target.digest:  # nobody answers: it waits until its deadline, under its own number
                assert error.outputs["attempt"] == target.attempt
            elif error.outputs is None:
                assert "somebody else rolls out fleet 'cameras' now" in error.message
            else:
                assert error.outputs["attempt"] < target.attempt
                assert f"somebody else rolled out attempt {target.attempt}, {target.digest}" in error.message


def test_another_prefix_keeps_the_count_of_attempts(plugin: Any, inputs: dict[str, Any], cache_directory: Path) -> None:
    elsewhere = {**inputs, "prefix": "project/test/cameras/", "deadline_seconds": 1}
    plugin.create("SignedBundle", {**bundle_of(elsewhere), "cache_directory": str(cache_directory)})
    checked = plugin.check("Rollout", inputs).inputs
    state = encode({**decode(checked)[0], "attempt": 7, "confirmed": []})
    rollout = type(plugin.create("StoreCredentials", {}))("Rollout", "it", "some-id", checked, state)
    assert list(plugin.diff(rollout, elsewhere).replaces) == []
    with pytest.raises(Exception, match="a did not confirm") as caught:
        plugin.update(rollout, elsewhere)
    error: Any = caught.value
    assert error.outputs["attempt"] == 8


def bundle_of(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: inputs[key] for key in ("store", "bucket", "prefix", "digest", "private_key")}
