"""Where a HybridDeployment's model runs: as the program says, or as the advisor finds."""

import logging
from typing import Any

import pulumi
import pytest
from tests import declaring
from tests.offload.test_plan import planned

from isthmus import hybrid
from isthmus.advising import measured_by

SERVICE = {"requests_per_second": 20, "p95_ms": 50}
FLEET = {"fleet": "fleets/cameras.yaml"}
MODEL = {"model": "models/digits"}
# Of a network on which the cloud answers in time, and devices that answer in time too.
SITUATION = {
    "requests_per_second": 60, "request_bytes": 300, "round_trip_p95_ms": 20, "cloud_service_ms": 2, "device_p95_ms": 1,
    "device_memory_bytes": 10**9, "model_bytes": 10**6,
}  # fmt: skip


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    with declaring.compiled(monkeypatch, tmp_path) as asked:
        yield asked


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What the program logs: level and text."""
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_, **__: lines.append((logging.INFO, text)))
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_, **__: lines.append((logging.WARNING, text)))
    return lines


def made(arguments: Any) -> tuple[set[str], dict[str, Any]]:
    """Which components there are, and the whole's outputs."""
    found = declaring.run({"hybrids": {"digits": arguments}})
    kinds = {kind.rpartition(":")[2] for kind, _ in found.resources}
    outputs = {key.rpartition(".")[2]: value for key, value in found.outputs.items()}
    return kinds & {"CloudModelService", "EdgeFleetRollout"}, outputs


def problems(arguments: Any) -> list[str]:
    return [f"{it.path}: {it.what}" for it in hybrid.check("digits", arguments, "hybrids.digits")[1]]


@pytest.mark.parametrize(
    ("arguments", "components"),
    [
        ({**SERVICE, **FLEET}, {"CloudModelService", "EdgeFleetRollout"}),
        ({"mode": "hybrid", **SERVICE, **FLEET}, {"CloudModelService", "EdgeFleetRollout"}),
        ({"mode": "cloud", **SERVICE}, {"CloudModelService"}),
        ({"mode": "cloud", **SERVICE, **FLEET}, {"CloudModelService"}),
        ({"mode": "edge", **FLEET}, {"EdgeFleetRollout"}),
        ({"mode": "edge", **SERVICE, **FLEET, "min_confidence": 0.8}, {"EdgeFleetRollout"}),
        ({"mode": "edge", **FLEET, "data": "may_leave_device", "policy": "policies/cameras.yaml"}, {"EdgeFleetRollout"}),
        ({"mode": "edge", **FLEET, "min_confidence": "auto", "max_device_error": 0.1, "deadline_ms": 50}, {"EdgeFleetRollout"}),
    ],
)
def test_a_mode_has_the_parts_that_it_names_and_asks_for_no_argument_of_the_others(arguments: Any, components: set[str]) -> None:
    found, outputs = made({**MODEL, **arguments})
    assert found == components
    assert outputs["mode"] == arguments.get("mode", "hybrid")
    assert bool(outputs["cloud"]) is ("CloudModelService" in components)
    assert bool(outputs["edge"]) is ("EdgeFleetRollout" in components)


def test_devices_without_a_cloud_role_ask_nobody() -> None:
    found = declaring.run({"hybrids": {"digits": {**MODEL, "mode": "edge", **FLEET, "data": "may_leave_device", "min_confidence": 0.8}}})
    files = [str(it["files"]) for (_, name), it in found.resources.items() if name.startswith("digits-edge-camera")]
    assert files
    assert not any("fallback" in it for it in files)


@pytest.mark.parametrize(
    ("situation", "components", "reason"),
    [
        ({"device_cost_per_month": 500}, {"CloudModelService"}, "cloud meets every requirement"),
        ({"round_trip_p95_ms": 80}, {"EdgeFleetRollout"}, "not cloud (latency): round trip 80"),
        ({"offline_percent": 5, "unsure_percent": 20}, {"CloudModelService", "EdgeFleetRollout"}, "not edge (unsure answers)"),
    ],
)
def test_auto_makes_what_the_advisor_says_and_gives_its_reasons(
    situation: Any, components: set[str], reason: str, said: list[tuple[int, str]]
) -> None:
    found, outputs = made({**MODEL, **SERVICE, **FLEET, "mode": "auto", "situation": {**SITUATION, **situation}, "min_confidence": 0.8})
    assert found == components
    assert any(reason in it for it in outputs["reasons"])
    assert any(reason in text for level, text in said if level == logging.INFO)


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ({"data": "stays_on_device"}, "edge"),
        ({"p95_ms": 15}, "edge"),
        ({"edge_requests_per_second": 10_000_000}, None),  # more than the cloud's servers, and than three devices can answer
        ({"prices": {"as_of": "2026-11-01", "servers": {"local": 1e-9}}}, "cloud"),
    ],
)
def test_what_the_program_says_already_is_not_asked_for_again(arguments: Any, mode: str | None) -> None:
    situation = {name: value for name, value in SITUATION.items() if name != "requests_per_second" or "edge" not in str([*arguments])}
    whole = {**MODEL, **SERVICE, **FLEET, **arguments, "mode": "auto", "situation": situation}
    if mode is None:
        found = problems(whole)
        assert len(found) == 3
        assert all(it.startswith("hybrids.digits.situation: ") and "does not fit" in it for it in found)
    else:
        assert made(whole)[1]["mode"] == mode


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"mode": "clowd"}, "hybrids.digits.mode: unknown mode 'clowd'"),
        ({"mode": ["cloud"]}, "hybrids.digits.mode: "),
        ({"mode": "auto"}, "hybrids.digits.situation: is missing"),
        ({"mode": "auto", "situation": "fast"}, "hybrids.digits.situation: "),
        ({"mode": "auto", "situation": {**SITUATION, "preset": "smart-city"}}, "hybrids.digits.situation.preset: there is no preset"),
        ({"mode": "auto", "situation": {**SITUATION, "round_trip_ms": 3}}, "hybrids.digits.situation.round_trip_ms: is no input"),
        (
            {"mode": "auto", "situation": {"preset": "in-car-assistant", "offline_percent": -1}},
            "hybrids.digits.situation.offline_percent: ",
        ),
        ({"mode": "auto", "situation": {}}, "hybrids.digits.situation.round_trip_p95_ms: is missing"),
    ],
)
def test_a_mode_or_situation_that_cannot_be_is_one_clear_problem_with_its_place(arguments: Any, wanted: str) -> None:
    assert any(it.startswith(wanted) for it in problems({**MODEL, **SERVICE, **FLEET, **arguments})), problems(arguments)


SPLIT = {**MODEL, **SERVICE, **FLEET, "data": "may_leave_device"}


@pytest.mark.parametrize("partition", ["auto", 3, 3.0])
def test_a_network_that_is_split_is_compiled_so_once_for_both_roles(asked: Any, partition: Any) -> None:
    found, wrong = hybrid.check("digits", {**SPLIT, "partition": partition}, "hybrids.digits")
    assert wrong == []
    assert found is not None
    assert found.cloud is not None
    assert found.edge is not None
    (edge,) = found.edge.sought.values()
    assert found.cloud.sought.request == edge.request
    assert edge.request.partition is not None
    assert edge.request.partition.layers == (None if partition == "auto" else 3)
    assert found.edge.is_split


def test_the_preview_says_where_a_network_stays_whole(said: list[tuple[int, str]]) -> None:
    assert made({**SPLIT, "partition": "auto"})[0] == {"CloudModelService", "EdgeFleetRollout"}
    assert any("the network stays whole" in text for _, text in said)


@pytest.mark.parametrize("partition", [None, False])
def test_a_network_stays_whole_where_the_program_does_not_say_otherwise(partition: Any) -> None:
    found, _ = hybrid.check("digits", {**SPLIT, "partition": partition}, "hybrids.digits")
    assert found is not None
    assert found.edge is not None
    assert not found.edge.is_split


@pytest.mark.parametrize("partition", [True, 0, -1, 2.5, 1e300, float("nan"), float("inf"), "Auto", "conv", "", [], {}])
def test_a_partition_that_is_none_is_one_problem(partition: Any) -> None:
    (found,) = hybrid.check("digits", {**SPLIT, "partition": partition}, "hybrids.digits")[1]
    assert found.path == "hybrids.digits.partition"
    assert "auto, false, or how many layers devices run" in found.expected + found.what


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"data": "stays_on_device"}, "nothing says that it may"),
        ({"data": None}, "nothing says that it may"),
        ({"policy": "policies/cameras.yaml"}, "`policy` chooses it too"),
        ({"variants": [{"class": "*", "recipe": "int8"}]}, "servers have the halves of one recipe"),
    ],
)
def test_what_a_split_network_does_not_go_with_is_said(more: Any, wanted: str) -> None:
    (found,) = [it for it in problems({**SPLIT, "partition": "auto", **more}) if it.startswith("hybrids.digits.partition")]
    assert wanted in found


@pytest.mark.parametrize("mode", ["cloud", "edge"])
def test_a_mode_of_one_place_has_nothing_to_split(mode: str) -> None:
    found, wrong = hybrid.check("digits", {**SPLIT, "partition": "auto", "mode": mode}, "hybrids.digits")
    assert (wrong, found is None) == ([], False)


@pytest.mark.parametrize("said", [{}, {"data": "stays_on_device"}])
def test_a_policy_for_devices_that_may_ask_nobody_is_one_problem(said: dict[str, str]) -> None:
    (found,) = problems({**MODEL, **SERVICE, **FLEET, **said, "policy": "policies/digits.yaml"})
    assert found.startswith("hybrids.digits.policy: ")


def test_what_is_wrong_with_the_half_that_is_not_made_is_said_where_the_advisor_may_choose_it() -> None:
    arguments = {**MODEL, **SERVICE, "fleet": "fleets/nothing.yaml", "mode": "auto", "situation": SITUATION}
    assert any(it.startswith("hybrids.digits.fleet: ") for it in problems(arguments))


def test_what_is_wrong_with_a_half_and_with_the_situation_is_said_at_once() -> None:
    found = problems({**MODEL, **SERVICE, **FLEET, "canary_percent": 5, "mode": "auto", "situation": {**SITUATION, "preset": "smart-city"}})
    assert [it.partition(": ")[0] for it in found] == ["hybrids.digits.canary_percent", "hybrids.digits.situation.preset"]


def test_figures_that_were_measured_and_change_the_answer_are_a_warning(said: list[tuple[int, str]]) -> None:
    whole = {**MODEL, **SERVICE, **FLEET, "mode": "auto"}
    made({**whole, "situation": SITUATION})
    assert not [text for level, text in said if level == logging.WARNING]
    made({**whole, "situation": {**SITUATION, "device_memory_bytes": 1000, "model_bytes": 900, "round_trip_p95_ms": 80}})
    (warning,) = [text for level, text in said if level == logging.WARNING]
    assert "mode edge is made; with what was measured the advisor says that no mode fits" in warning
    assert "not edge (memory)" in warning


def test_what_devices_pass_on_is_measured_too() -> None:
    edge = {"p95_ms": 1, "size_bytes": 2, "offload": planned().output()}
    assert measured_by(None, edge) == {"device_p95_ms": 1, "model_bytes": 2, "unsure_percent": 15.0}


def test_a_preview_shows_the_steps_in_which_both_sides_go_over_to_a_release(said: list[tuple[int, str]]) -> None:
    made({**MODEL, **SERVICE, **FLEET})
    (steps,) = [text for _, text in said if text.startswith("rolled out together:")]
    assert [line.split()[:6] for line in steps.splitlines()[2:4]] == [
        ["1", "100", "%", "yes", "–", "0"],
        ["2", "100", "%", "yes", "canary", "1"],
    ]
    assert "until the last step servers hold two models: of 1.5 kB, and the version before" in steps
    said.clear()
    made({**MODEL, **SERVICE, "mode": "cloud"})
    assert not [text for _, text in said if text.startswith("rolled out together:")]


def test_a_canary_that_leads_a_fleet_asks_for_an_update_that_waits() -> None:
    where = {"platform": "kubernetes", "store": {"endpoint": "http://store", "access_key": "a", "secret_key": "b"}, "keys": "keys"}
    where |= {"kubernetes": {"service_type": "NodePort"}, "device_access": {"access_key": "a", "secret_key": "b"}, "bucket": "models"}
    hybrid = {**MODEL, **SERVICE, **FLEET, **where, "canary": {"version": 2}, "wait": False}
    assert problems(hybrid) == ["hybrids.digits.wait: the canary would get all requests before the waves have passed"]
    assert problems({**hybrid, "canary_percent": 0}) == []
    assert problems({**hybrid, "mode": "cloud"}) == []


def test_what_is_wrong_with_the_canary_of_a_hybrid_is_said_where_the_canary_is() -> None:
    canary = {"platform": "kubernetes", "store": {"endpoint": "http://store", "access_key": "a", "secret_key": "b"}}
    found = problems({**MODEL, **SERVICE, **FLEET, **canary, "canary": {"model": "models/nothing", "version": 2}})
    assert any(it.startswith("hybrids.digits.canary.model: ") for it in found), found
    assert not any(it.startswith("hybrids.digits.model: ") for it in found), found
