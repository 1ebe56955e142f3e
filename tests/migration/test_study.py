"""What is said of a policy before it is deployed, and the file that a device reads from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.arguments.policy_file import load_policy
from isthmus.errors import InputError
from isthmus.migration.policy_file import policy_of
from isthmus.migration.study import Study, same_rows, study
from isthmus_agent.formats.policy import from_json

EXAMPLE = Path(__file__).parents[2] / "policies" / "cameras.yaml"
SETTINGS = load_policy(EXAMPLE.name, EXAMPLE.parent, "file")
RELEASE = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def camera() -> Study:
    return study("camera", SETTINGS.model_copy(update={"step_seconds": 60.0}).situations()["camera"], SETTINGS.margin_ms)


def test_the_policy_gains_on_every_rival_and_the_best_one_on_it(camera: Study) -> None:
    assert camera.best_cost <= camera.cost + 1e-9
    assert all(camera.best_cost < cost for cost in camera.rivals.values())
    assert all(camera.gain(it) > 0.3 for it in ("never", "always cloud", "threshold"))


def test_the_simulated_week_agrees_with_the_long_run(camera: Study) -> None:
    for name, exact in zip(camera.built.process.places, camera.long_run.places, strict=True):
        assert abs(camera.week.shares[name].mean - exact) <= 2.5 * camera.week.shares[name].plus_minus
    assert 0 < camera.missed_share.mean < 0.1


def test_all_of_it_is_plain_values(camera: Study) -> None:
    data = json.loads(json.dumps(camera.data(), allow_nan=False))
    assert data["places"] == ["device", "cloud", "peer:gateway"]
    assert len(data["next_place"][0]) == 32


def test_places_that_do_the_same_are_told_together(camera: Study) -> None:
    found = same_rows(camera)
    assert sorted(it for places in found for it in places) == sorted(camera.built.process.places)
    for places, row in found.items():
        for place in places:
            np.testing.assert_array_equal(camera.chosen.next_place[camera.built.process.places.index(place)], row)


def test_the_device_goes_where_the_solver_said(camera: Study) -> None:
    process = camera.built.process
    policy = from_json(policy_of(camera, RELEASE).to_json(), RELEASE)
    middles = [
        [(lower + upper) / 2 for lower, upper in zip((0, *it.edges), (*it.edges, 2 * max(it.edges)), strict=True)]
        for it in process.dimensions
    ]
    for cell in range(process.shape[1]):
        measured = {it.name: middles[axis][process.cell_levels(cell)[axis]] for axis, it in enumerate(process.dimensions)}
        levels = policy.levels(policy.unmeasured, measured)
        assert levels == process.cell_levels(cell)
        for place in range(process.shape[0]):
            assert policy.next_place(place, levels) == camera.chosen.next_place[place, cell]


def test_what_no_device_could_read_is_said_before_it_is_signed(camera: Study) -> None:
    with pytest.raises(InputError, match="no device could read this policy"):
        policy_of(replace(camera, device_class="no class!"), RELEASE)


def test_a_device_that_nobody_asks_costs_nothing() -> None:
    idle = replace(SETTINGS.situation(), load=(0.0,) * 4, step_seconds=3600)
    found = study("camera", idle)
    assert found.cost == 0
    assert found.missed_share.mean == 0
