"""Where requests of devices elsewhere run, by what they have reported."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.rollouts.world import FLEET, OLD, SECRET, World, digest_of, intent
from tests.running import said

from isthmus.errors import IsthmusError
from isthmus.migration.running import why
from isthmus.observing.routing import reported
from isthmus_agent.formats import report
from isthmus_agent.formats.report import Figures, Outcome, Report, Routed
from isthmus_agent.formats.routing import routed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.founded(tmp_path / "keys", devices=12)


def says(world: World, device: str, its: Routed | None, age_seconds: float = 400.0) -> None:
    """Puts a device's report in place of what it has said before."""
    [key] = [it.report_key(SECRET, FLEET) for it in world.devices if it.name == device]
    mine = f"{report.folder('edge/', world.told.number)}{device}~"
    for old in [it for it in world.store.objects if it.startswith(mine)]:
        del world.store.objects[old]
    found = Report(device, world.told.number, Outcome.CONFIRMED, digest_of(OLD)[7:23], figures=Figures(boots=1, requests=9, routed=its))
    written = found.object_key("edge/", FLEET, key)
    world.store.objects[written], world.store.written[written] = b"", world.time - age_seconds


def test_each_device_of_the_roster_says_where_its_requests_ran_and_how_old_that_is(world: World):
    world.bring(intent(OLD))
    says(world, "camera-00", routed(said()))
    says(world, "camera-01", None)
    first, second, third, *_ = reported(world.fleet, now=world.now)
    assert first.age_seconds == pytest.approx(400, abs=1)
    assert first.routing is not None
    assert (first.routing.place, first.routing.totals) == ("cloud", said().totals)
    assert why(first).endswith("4,490 of 5,990 requests were answered elsewhere since its start")
    assert (second.routing, second.problem) == (None, "it asks nobody (confirmed)")
    assert third.problem == "it has not said where its requests run (confirmed)"


def test_a_device_that_is_silent_is_shown_as_such(world: World):
    world.bring(intent(OLD))
    for key in [it for it in world.store.objects if "health/" in it]:
        del world.store.objects[key]
    assert {it.problem for it in reported(world.fleet, now=world.now)} == {"it has reported nothing about what it was told last"}


def test_what_cannot_be_read_is_one_error_that_says_what_to_do(world: World):
    with pytest.raises(IsthmusError, match="told nothing yet"):
        reported(world.fleet, now=world.now)
    with pytest.raises(IsthmusError, match="secret is not in the key ring"):
        reported(replace(world.fleet, secret=None), now=world.now)
