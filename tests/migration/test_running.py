"""What is shown of a hybrid that runs, from what its devices said."""

import json
from dataclasses import replace

import pytest
from tests.running import AWAY, POLICY, SOME, reading, said

from isthmus.migration.running import MOST_ROWS, CloudReading, DeviceReading, cloud_line, from_devices, maps, notes, policy_of, rows, why
from isthmus_agent.formats.routing import Level


def test_a_device_has_a_row_with_its_place_its_shares_and_its_times():
    first, second, third, _, silent = rows(reading())
    assert (first.name, first.now, first.breaker, first.is_well) == ("camera-1", "cloud", "closed", True)
    assert first.shares == {"here": 0.25, "cloud": pytest.approx(440 / 600), "passed_on": pytest.approx(1 / 60), "peer": 0, "failed": 0}
    assert (first.per_second, first.round_trip_ms, first.p50_ms, first.p95_ms) == (10, 14.2, 21, 48)
    assert second.shares == {}
    assert (third.round_trip_ms, third.is_well) == (None, False)
    assert (silent.now, silent.why, silent.is_well) == ("", "no answer (ConnectionError)", False)


def test_it_says_why_by_what_the_device_measured():
    assert [why(it) for it in SOME[:4]] == [
        "policy: network good (14.2 ms), load busy (14 per second)",
        "policy: network good (14.2 ms), load calm (14 per second)",
        "the cloud role is away; policy: network cut, load busy (14 per second)",
        "said 6.67 min ago; policy: network good (14.2 ms), load busy (14 per second)",
    ]
    plain = said(levels=(), policy="")
    assert why(DeviceReading("a", plain)) == "no policy: what is unsure is passed on"
    assert why(DeviceReading("a", replace(plain, breaker="none"))) == "it asks nobody"
    assert why(DeviceReading("a", replace(plain, breaker="full"))).startswith("the cloud role is full")


def test_a_failed_request_is_nothing_that_is_well():
    assert not rows(reading((DeviceReading("a", said(recent={**said().recent, "failed": 1})),)))[0].is_well


def test_many_devices_are_shown_by_class_and_each_that_is_silent_by_itself():
    many = tuple(DeviceReading(f"camera-{it}", AWAY if it % 3 == 0 else said()) for it in range(30))
    silent = tuple(DeviceReading(f"lost-{it}", problem="no answer") for it in range(MOST_ROWS + 5))
    first, *rest = rows(reading((*many, *silent)))
    assert (first.name, first.now, first.breaker) == ("class camera · 30", "cloud 20, device 10", "closed 20, open 10")
    assert first.per_second == pytest.approx(300)
    assert len(rest) == MOST_ROWS + 1
    assert rest[-1].name == "… and 5 more"


def test_a_map_marks_the_cells_in_which_devices_are():
    found = maps(reading())
    assert [it.title for it in found] == ["class camera · now on cloud", "class camera · now on device"]
    cells = {(level, column): cell for level, its in found[0].rows for column, cell in zip(found[0].columns, its, strict=True)}
    assert {at: it.devices for at, it in cells.items() if it.devices} == {("good", "busy"): ("camera-1", "camera-4")}
    assert [[cell.name for cell in its] for _, its in found[0].rows] == [["device", "cloud"], ["device", "cloud"], ["device", "device"]]
    marked = [cell.devices for _, its in found[1].rows for cell in its if cell.devices]
    assert marked == [("camera-2",), ("camera-3",)]
    assert len(maps(reading(), most=1)) == 1


def test_a_map_of_one_dimension_or_none_has_one_column():
    for count in (0, 1):
        size = 3 if count else 1
        policy = replace(POLICY, dimensions=POLICY.dimensions[:count], table=(0,) * size * 2)
        [found] = maps(reading((DeviceReading("a", said(levels=said().levels[:count], policy=policy.to_json().decode())),)))
        assert (found.columns, len(found.rows)) == (("",), size)
        assert sum(len(cell.devices) for _, its in found.rows for cell in its) == 1


@pytest.mark.parametrize("policy", ["", "{}", "[" * 10_000, POLICY.to_json().decode().replace("camera", "Ä"), '{"class": "<b>"}'])
def test_what_is_no_policy_has_no_map_and_breaks_nothing(policy: str):
    many = tuple(DeviceReading(f"camera-{it}", said(policy=policy)) for it in range(MOST_ROWS + 1))
    assert maps(reading(many)) == ()
    assert policy_of(said(policy=policy)) is None
    assert rows(reading(many))


def test_levels_that_are_not_the_policys_have_no_map():
    other = (Level("network", "ms", "good"), Level("warmth", "degrees", "hot"))
    assert maps(reading((DeviceReading("a", said(levels=other)),))) == ()


def test_the_cloud_role_is_told_in_one_line():
    assert from_devices(reading()) == pytest.approx(450 / 60)
    assert cloud_line(reading()) == "2 of 3 servers ready; answers 7.5 requests per second of devices; turned away 28"
    assert cloud_line(reading(cloud=CloudReading("digits", problem="the cluster is away"))) == "the cluster is away"
    assert cloud_line(reading(cloud=None)) == "the stack has no cloud role"


def test_what_is_missing_is_said_once():
    assert [*notes(reading())] == []
    assert "no device" in next(notes(reading(())))
    [from_afar] = notes(reading((DeviceReading("a", said(policy="", levels=()), age_seconds=90.0), SOME[4])))
    assert from_afar.startswith("devices are elsewhere")
    assert "follows a policy" in next(notes(reading((DeviceReading("a", said(policy="", levels=())),))))


def test_its_data_is_json():
    data = json.loads(json.dumps(reading().data()))
    assert data["devices"][0]["routing"]["place"] == "cloud"
    assert data["why"]["camera-5"] == "no answer (ConnectionError)"
