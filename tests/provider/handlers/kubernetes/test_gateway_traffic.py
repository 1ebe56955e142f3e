"""GatewayTraffic against a real API server."""

import json
from typing import Any

import pytest


def drifted(plugin: Any, resource: Any, inputs: dict[str, Any]) -> list[str]:
    return sorted(plugin.diff(plugin.read(resource), inputs).diffs)


def set_split(stage: Any, **changes: Any) -> None:
    """As a gate leaves it."""
    found = stage.config_map()
    found["metadata"]["annotations"]["isthmus.dev/traffic"] = json.dumps({**stage.annotation(), **changes})
    stage.api.call("PUT", stage.path("configmaps", "digits-traffic"), found)


def test_a_new_split_sends_everything_to_the_stable_release(plugin: Any, stage: Any) -> None:
    inputs = stage.traffic_inputs()
    assert plugin.preview("GatewayTraffic", inputs)["config_map"] == "digits-traffic"
    traffic = plugin.create("GatewayTraffic", inputs)
    assert (traffic.id, traffic.outputs["config_map"], traffic.outputs["intact"]) == (
        f"{stage.namespace}/digits-traffic",
        "digits-traffic",
        True,
    )
    assert ("kubeconfig",) in traffic.secrets
    annotation, found = stage.annotation(), stage.config_map()
    assert annotation["percents"] == {"stable": 100, "canary": 0}
    assert f"traffic-{annotation['generation']}" in found["data"]["rds.json"]
    assert found["metadata"]["labels"]["isthmus.dev/service"] == "digits"
    again = plugin.read(traffic)
    assert again.outputs == traffic.outputs
    assert not plugin.diff(again, inputs).diffs


def test_one_that_is_replaced_in_place_survives_the_old_one_with_its_shares(plugin: Any, stage: Any) -> None:
    inputs = stage.traffic_inputs()
    old = plugin.create("GatewayTraffic", inputs)
    set_split(stage, canary_percent=100, verdict="promoted", digest="sha256:" + "b" * 64)
    new = plugin.create("GatewayTraffic", inputs)
    new = plugin.update(new, inputs)
    plugin.delete(old)
    assert stage.annotation()["canary_percent"] == 100
    assert plugin.read(new).outputs == new.outputs
    plugin.delete(new)
    assert plugin.read(new) is None


def test_an_update_of_versions_keeps_the_shares_and_makes_a_new_generation(plugin: Any, stage: Any) -> None:
    traffic = plugin.create("GatewayTraffic", stage.traffic_inputs())
    set_split(stage, canary_percent=100, verdict="promoted", digest="sha256:" + "b" * 64)
    before = stage.annotation()["generation"]
    inputs = stage.traffic_inputs()
    inputs["tracks"]["stable"] = {"version": 7, "digest": "sha256:" + "7" * 64}
    plugin.update(traffic, inputs)
    after = stage.annotation()
    assert (after["canary_percent"], after["verdict"], after["tracks"]["stable"]["version"]) == (100, "promoted", 7)
    assert after["generation"] > before


def test_a_canary_that_the_program_drops_keeps_its_requests_until_the_gate_takes_them(plugin: Any, stage: Any) -> None:
    traffic = plugin.create("GatewayTraffic", stage.traffic_inputs())
    set_split(stage, canary_percent=100, verdict="promoted", digest="sha256:" + "b" * 64)
    # The promoted release becomes the stable one: the same version on both tracks, for a while.
    inputs = {**stage.traffic_inputs(canary=""), "tracks": {"stable": {"version": 2, "digest": "sha256:" + "b" * 64}}}
    traffic = plugin.update(traffic, inputs)
    assert stage.annotation()["percents"] == {"stable": 0, "canary": 100}
    assert "canary-rest" in stage.config_map()["data"]["rds.json"]
    assert not plugin.diff(plugin.read(traffic), inputs).diffs
    gate = plugin.create("CanaryGate", {**stage.gate_inputs(), "canary_percent": 0})
    plugin.delete(gate)
    assert stage.annotation()["percents"] == {"stable": 100}
    assert "canary" not in stage.config_map()["data"]["rds.json"]


def test_a_split_that_nobody_watches_any_more_is_taken_back(plugin: Any, stage: Any) -> None:
    traffic = plugin.create("GatewayTraffic", stage.traffic_inputs())
    set_split(stage, canary_percent=10, verdict="judging")
    plugin.update(traffic, stage.traffic_inputs(canary="sha256:" + "c" * 64, version=3))
    assert stage.annotation()["percents"] == {"stable": 100, "canary": 0}


def test_a_file_that_was_changed_by_hand_is_found_and_mended(plugin: Any, stage: Any) -> None:
    inputs = stage.traffic_inputs()
    traffic = plugin.create("GatewayTraffic", inputs)
    found = stage.config_map()
    right = json.loads(found["data"]["rds.json"])["resources"][0]["virtual_hosts"][0]["routes"]
    found["data"]["rds.json"] = "{}"
    stage.api.call("PUT", stage.path("configmaps", "digits-traffic"), found)
    assert drifted(plugin, traffic, inputs) == ["intact"]
    plugin.update(traffic, inputs)
    assert json.loads(stage.config_map()["data"]["rds.json"])["resources"][0]["virtual_hosts"][0]["routes"] == right
    assert drifted(plugin, traffic, inputs) == []


def test_one_that_somebody_deleted_is_found_and_made_again_under_a_later_generation(plugin: Any, stage: Any) -> None:
    traffic = plugin.create("GatewayTraffic", stage.traffic_inputs())
    before = stage.annotation()["generation"]
    stage.api.call("DELETE", stage.path("configmaps", "digits-traffic"))
    assert plugin.read(traffic) is None
    again = plugin.create("GatewayTraffic", stage.traffic_inputs())
    assert stage.annotation()["generation"] >= before
    plugin.delete(again)
    plugin.delete(again)
    assert stage.config_map() is None


def test_one_that_a_killed_update_left_is_taken_over_and_somebody_elses_is_not(plugin: Any, stage: Any) -> None:
    plugin.create("GatewayTraffic", stage.traffic_inputs())
    assert plugin.create("GatewayTraffic", stage.traffic_inputs()).outputs["intact"]
    stage.api.call("DELETE", stage.path("configmaps", "digits-traffic"))
    stage.api.call("POST", stage.path("configmaps"), {"metadata": {"name": "digits-traffic"}})
    with pytest.raises(Exception, match="is not of the service digits"):
        plugin.create("GatewayTraffic", stage.traffic_inputs())


def test_another_canary_is_refused_while_the_promoted_one_has_the_traffic(plugin: Any, stage: Any) -> None:
    plugin.create("GatewayTraffic", stage.traffic_inputs())
    set_split(stage, canary_percent=100, verdict="promoted", digest="sha256:" + "b" * 64)
    other = "sha256:" + "c" * 64
    assert plugin.problems("GatewayTraffic", stage.traffic_inputs()) == []
    (problem,) = plugin.problems("GatewayTraffic", stage.traffic_inputs(canary=other, version=3))
    assert "would replace it there without a gate" in problem
    assert "isthmus rollback" in problem
    (problem,) = plugin.problems("CanaryGate", {**stage.gate_inputs(), "canary_digest": other})
    assert problem.startswith("canary_digest: ")


def test_tracks_are_checked_before_anything_is_asked(plugin: Any, stage: Any) -> None:
    problems = plugin.problems("GatewayTraffic", {**stage.traffic_inputs(), "tracks": {"blue": {"version": 1}}})
    assert len(problems) == 2
    assert "stable or canary" in problems[0]


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(plugin: Any, stage: Any, in_background: Any, eventually: Any) -> None:
    stage.api.away.set()
    making = in_background(lambda: plugin.create("GatewayTraffic", stage.traffic_inputs()))
    eventually(lambda: any("waiting for the API server" in text for text in plugin.engine.texts(ephemeral=True)))
    assert not making.done()
    stage.api.away.clear()
    assert making.result(60).outputs["intact"]


def test_another_api_server_is_another_cluster_and_other_credentials_are_not(plugin: Any, stage: Any) -> None:
    inputs = stage.traffic_inputs()
    traffic = plugin.create("GatewayTraffic", inputs)
    config = json.loads(inputs["kubeconfig"])
    config["users"][0]["user"] = {"token": "another"}
    assert not plugin.diff(traffic, {**inputs, "kubeconfig": json.dumps(config)}).diffs
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    assert list(plugin.diff(traffic, {**inputs, "kubeconfig": json.dumps(config)}).replaces) == ["kubeconfig"]
