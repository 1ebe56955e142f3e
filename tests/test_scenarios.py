"""Every stack file of this project, through the program and against mocks: what it declares, in which mode, and why."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests import declaring

from isthmus import grouping, planning
from isthmus.sizing.advisor.presets import PRESETS

# Stack → its hybrid, and the mode that is made.
EXPECTED = {
    "autonomous-driving": ("lanes", "edge"),
    "local": ("digits", "hybrid"),
    "offline-voice-assistant": ("commands", "hybrid"),
    "online-recommendation": ("lectures", "cloud"),
    "smart-security": ("people", "edge"),
}
SCENARIOS = [name for name in EXPECTED if name != "local"]
MEASURED_MS = 0.02
"""About what these models take for one request."""


def sections(name: str) -> Mapping[str, Any]:
    """The sections of a stack file."""
    content = yaml.safe_load(Path(f"stacks/Pulumi.{name}.yaml").read_text(encoding="utf-8"))
    assert list(content) == ["config"]  # no salt of somebody's passphrase
    return {key.removeprefix("models:"): value for key, value in content["config"].items()}


@pytest.fixture(autouse=True)
def file(monkeypatch, tmp_path):
    """What is looked at for its operators, of a release that has no files."""
    file = tmp_path / "edge" / "1" / "model.tflite"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(planning, "operators", lambda _: ("FULLY_CONNECTED",))


@pytest.fixture(autouse=True)
def answers(monkeypatch, tmp_path):
    """What releases that have no files answer to views: for each example one class, the right one in four of five, each view in
    others, and else one of which it is not sure."""

    def edge_answers(_release: Any, views: Mapping[str, Any], *_: object) -> Mapping[str, Any]:
        with np.load("views/buildings.npz") as data:
            labels = data["labels"].astype(int)
        sure = {name: np.where(np.arange(len(labels)) % 5 == place, 0.1, 0.5)[:, None] for place, name in enumerate(sorted(views))}
        return {name: (1 - it) / 10 + it * np.eye(10)[np.where(it[:, 0] < 0.2, 0, labels)] for name, it in sure.items()}

    monkeypatch.setattr(grouping, "edge_answers", edge_answers)
    monkeypatch.setattr(grouping, "default_cache_directory", lambda: tmp_path)


@pytest.fixture
def declared(monkeypatch, tmp_path) -> Iterator[Any]:
    with declaring.compiled(monkeypatch, tmp_path, p95_ms=MEASURED_MS):
        yield lambda name: declaring.run(sections(name))


def test_all_stack_files_are_looked_at_here():
    assert sorted(file.name for file in Path("stacks").iterdir()) == [f"Pulumi.{name}.yaml" for name in sorted(EXPECTED)]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_stack_makes_the_parts_of_its_mode(declared, name):
    hybrid, mode = EXPECTED[name]
    found = declared(name)
    assert found.outputs[f"hybrids.{hybrid}.mode"] == mode
    assert len(found.names("CloudModelService")) == (mode != "edge")
    assert len(found.names("EdgeFleetRollout")) == (mode != "cloud")
    assert bool(found.names("Bucket")) == (mode != "cloud")


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_says_why_by_the_preset_of_its_name(declared, name):
    hybrid, mode = EXPECTED[name]
    [arguments] = sections(name)["hybrids"].values()
    assert (arguments["mode"], arguments["situation"]["preset"]) == ("auto", name)
    assert arguments["situation"]["devices"] == PRESETS[name].values["devices"]
    reasons = declared(name).outputs[f"hybrids.{hybrid}.reasons"]
    assert reasons[0].startswith(f"{mode} meets every requirement")
    for other in {"cloud", "edge", "hybrid"} - {mode}:
        assert any(reason.startswith(f"not {other} ") for reason in reasons[1:])


def test_cameras_of_a_building_answer_together_by_what_was_learned_of_their_views(declared):
    found = declared("smart-security")
    waves = [it for (kind, _), it in found.resources.items() if kind.endswith(":FleetWave")]
    file = json.loads(waves[0]["groups"]["camera"]["file"])
    fleet = yaml.safe_load(Path("fleets/buildings.yaml").read_text(encoding="utf-8"))
    assert [it["name"] for it in file["members"]] == sorted({it["labels"]["view"] for it in fleet["devices"] if "view" in it["labels"]})
    assert file["release"] == waves[0]["releases"]["camera"]
    worth = found.outputs["hybrids.people.edge"]["plan"]["group"]["camera"]
    assert worth["accuracy"]["value"] > worth["best"]["value"]


def fallbacks(found: declaring.Declared) -> set[str]:
    """Whom devices ask, by what their configurations say."""
    files = [inputs["files"].get("config.json", "") for inputs in found.resources.values() if isinstance(inputs.get("files"), Mapping)]
    return set(re.findall(r'"fallback": {\s*"url": "([^"]*)"', "\n".join(files)))


def test_cameras_ask_nobody_and_doubtful_commands_go_to_the_stacks_own_cloud_role(declared):
    voice = declared("offline-voice-assistant")
    assert fallbacks(voice) == {voice.outputs["hybrids.commands.cloud"]["endpoint"]}
    assert not fallbacks(declared("smart-security"))
    assert not fallbacks(declared("autonomous-driving"))


def test_the_most_accurate_variant_of_a_slow_vehicle_is_one_that_keeps_the_deadline(monkeypatch, tmp_path):
    arguments = sections("autonomous-driving")
    deadline_ms = arguments["hybrids"]["lanes"]["probation"]["max_p95_ms"]
    factor = yaml.safe_load(Path("fleets/vehicles.yaml").read_text(encoding="utf-8"))["classes"]["older"]["speed_factor"]
    with declaring.compiled(monkeypatch, tmp_path, p95_ms=0.99 * deadline_ms / factor):
        declaring.run(arguments)
    with (
        declaring.compiled(monkeypatch, tmp_path, p95_ms=1.01 * deadline_ms / factor),
        pytest.raises(Exception, match="devices of class older"),
    ):
        declaring.run(arguments)


def test_stacks_beside_each_other_have_ports_of_their_own():
    ports = [
        port
        for name in EXPECTED
        for arguments in sections(name)["hybrids"].values()
        for key, port in arguments.get("local", {}).items()
        if key.endswith("port")
    ]
    assert len(ports) == len(set(ports)) == 6
    for name in EXPECTED:
        for arguments in sections(name)["hybrids"].values():
            assert "directory" not in arguments.get("local", {})  # each stack's is named by it
            fleet = yaml.safe_load(Path(arguments["fleet"]).read_text(encoding="utf-8"))
            assert not [device["name"] for device in fleet["devices"] if "port" in device]  # any free ones


def test_the_page_has_each_scenario_and_its_command():
    page = Path("docs/scenarios.md").read_text(encoding="utf-8")
    for name in SCENARIOS:
        assert f"make up STACK={name}\n" in page
    assert set(re.findall(r"STACK=([\w-]+)", page)) == {*SCENARIOS}
