"""What `isthmus status` shows of a fleet whose devices nobody has to reach."""

from pathlib import Path

import pytest
from tests.rollouts.world import NEW, OLD, World, digest_of, intent

from isthmus.errors import IsthmusError
from isthmus.observing import fleets
from isthmus.observing.stack_state import StackState
from isthmus.rollouts.stopping import RolloutAbortedError
from isthmus_agent.formats.report import Outcome

STATE = StackState("prod", {}, {})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A stack's fleet of twelve devices elsewhere."""
    found = World.founded(tmp_path / "keys")
    place = {"keys": str(tmp_path / "keys"), "fleet": "cameras"}
    monkeypatch.setattr(
        fleets, "read_stack", lambda name, show_secrets: StackState(name, {}, {"FleetRepository": {"cams-repository": place}})
    )
    monkeypatch.setattr(fleets, "_fleet", lambda _: found.fleet)
    return found


def test_each_wave_is_a_row_with_what_its_devices_have_said(world: World) -> None:
    assert fleets.block("cams", STATE).problem == "its devices were told nothing yet"
    world.bring(intent(OLD))
    found = fleets.block("cams", STATE)
    assert [(it.name, it.on, it.state) for it in found.parts] == [
        ("canary", "2 of 2 devices", "AVAILABLE"),
        ("wave-2", "4 of 4 devices", "AVAILABLE"),
        ("rest", "6 of 6 devices", "AVAILABLE"),
    ]
    assert {it.release for it in found.parts} == {digest_of(OLD)}
    assert ("number", "1") in found.facts
    assert found.healthy


def test_a_wave_that_was_stopped_is_not_well_and_says_why(world: World) -> None:
    world.bring(intent(OLD))
    world.behave = lambda device, content: Outcome.UNFIT if content == digest_of(NEW) else Outcome.CONFIRMED
    with pytest.raises(RolloutAbortedError):
        world.bring(intent(NEW))
    assert fleets.block("cams", STATE).healthy  # what was before
    world.behave = lambda device, content: None
    world.bring(intent(NEW), wait=False)
    assert {it.state for it in fleets.block("cams", STATE).parts} == {"running"}


def test_without_the_fleets_secret_only_what_is_signed_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bring(intent(OLD))
    blind = type(world.fleet)(world.fleet.place, world.fleet.keyring, world.fleet.name)
    monkeypatch.setattr(fleets, "_fleet", lambda _: blind)
    found = fleets.block("cams", STATE)
    assert ("reports", "cannot be read here: the fleet's secret is not in the key ring's folder") in found.facts
    assert [it.on for it in found.parts] == ["2 devices", "4 devices", "6 devices"]


@pytest.mark.usefixtures("world")
def test_a_fleet_that_the_stack_does_not_have_is_said() -> None:
    with pytest.raises(IsthmusError, match="no repository of fleet lorries"):
        fleets.block("lorries", STATE)


def test_what_the_last_update_found_is_told_beside_devices_of_this_machine() -> None:
    waves = [{"name": "canary", "outcome": "passed", "confirmed": 1.0}, {"name": "rest", "outcome": "waiting", "confirmed": 0.0}]
    assert fleets.facts({"number": 3.0, "waves": waves}) == (
        ("number", "3"),
        ("waves", "canary: passed, 1 confirmed"),
        ("", "rest: waiting, 0 confirmed"),
    )
    assert fleets.facts({}) == ()
