from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.fleet import waves as module
from isthmus.fleet.waves import PlannedWave, Wave, plan_waves
from isthmus_agent.formats import assignment
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, draw
from isthmus_agent.formats.assignment import Wave as SignedWave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.roster import Device

SALT = "00112233445566778899aabbccddeeff"


def camera(name: str, labels: Mapping[str, str] | None = None) -> Device:
    return Device(name, "small", labels or {})


def wave_of(waves: Sequence[SignedWave], salt: str, device: str, labels: Mapping[str, str]) -> int | None:
    """As a device finds it."""
    variant = Variant("*", "sha256:" + "0" * 64, "fleet/a.bundle", 1)
    return Assignment("fleet", 1, salt, (variant,), tuple(waves), len(waves)).wave_of(device, labels)


def cameras(count: int, **labels: str) -> list[Device]:
    return [camera(f"camera-{number}", labels) for number in range(count)]


FLEET = [camera(f"camera-{number}", {"site": "ab"[number % 2], "group": "lab" if number < 4 else "field"}) for number in range(40)]


def problems(waves: Sequence[Wave], roster: Sequence[Device] = FLEET) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan_waves(waves, roster, SALT)
    return [str(problem) for problem in caught.value.problems]


def sizes(planned: Sequence[PlannedWave]) -> list[int]:
    return [len(wave.devices) for wave in planned]


def test_percents_say_how_much_has_the_release_after_the_wave() -> None:
    planned = plan_waves([Wave(percent=5), Wave(percent=25), Wave(percent=100)], FLEET, SALT)
    assert sizes(planned) == [2, 8, 30]
    assert [wave.signed.name for wave in planned] == ["canary", "wave-2", "wave-3"]
    assert planned[-1].signed == SignedWave("wave-3", WHOLE_SHARE, {}, ())


def test_a_percentage_is_rounded_up_and_never_by_a_float() -> None:
    assert sizes(plan_waves([Wave(percent=0.1), Wave(percent=10), Wave(percent=100)], cameras(30), SALT)) == [1, 2, 27]


def test_waves_by_name_group_label_and_count_go_together() -> None:
    waves = [Wave("mine", devices=["camera-7"]), Wave(group="lab"), Wave(labels={"site": "a"}, count=10), Wave(percent=100)]
    planned = plan_waves(waves, FLEET, SALT)
    assert planned[0].devices == ("camera-7",)
    assert sorted(planned[1].devices) == ["camera-0", "camera-1", "camera-2", "camera-3"]
    assert planned[1].signed.labels == {"group": "lab"}
    have = {device for wave in planned[:3] for device in wave.devices}
    assert len([it for it in FLEET if it.labels["site"] == "a" and it.name in have]) == 10
    assert sum(sizes(planned)) == 40


@st.composite
def rollouts(draw_: st.DrawFn) -> tuple[list[Wave], list[Device], str]:
    roster = [camera(f"c{number}", {"site": draw_(st.sampled_from("ab"))}) for number in range(draw_(st.integers(2, 30)))]
    counts = sorted(draw_(st.sets(st.integers(1, len(roster) - 1), max_size=4)))
    last = draw_(st.sampled_from([Wave(percent=100), Wave(count=len(roster))]))
    return [*(Wave(count=count) for count in counts), last], roster, draw_(st.text("0123456789abcdef", min_size=1, max_size=8))


@given(rollouts())
@settings(deadline=None)
def test_every_device_is_in_exactly_one_wave_and_finds_it_from_the_signed_form(rollout: tuple[list[Wave], list[Device], str]) -> None:
    waves, roster, salt = rollout
    planned = plan_waves(waves, roster, salt)
    signed = [wave.signed for wave in planned]
    for index, wave in enumerate(planned):
        assert sum(sizes(planned[: index + 1])) == (waves[index].count or len(roster))
        for device in wave.devices:
            labels = next(it.labels for it in roster if it.name == device)
            assert wave_of(signed, salt, device, labels) == index
    assert sorted(device for wave in planned for device in wave.devices) == sorted(it.name for it in roster)
    draws = [draw(salt, device) for wave in planned for device in wave.devices]
    assert draws == sorted(draws)  # the smallest draws first: the canary is the same whatever comes after it


@given(rollouts())
@settings(deadline=None)
def test_opening_one_more_wave_takes_the_release_from_nobody(rollout: tuple[list[Wave], list[Device], str]) -> None:
    waves, roster, salt = rollout
    signed = [wave.signed for wave in plan_waves(waves, roster, salt)]
    for device in roster:
        seen = [wave_of(signed[:opened], salt, device.name, device.labels) for opened in range(len(signed) + 1)]
        reached = [index for index in seen if index is not None]
        assert len(set(reached)) == 1
        assert seen == [None] * (len(seen) - len(reached)) + reached


def test_another_salt_takes_other_canaries() -> None:
    canaries = {plan_waves([Wave(count=1), Wave(percent=100)], FLEET, salt)[0].devices[0] for salt in "abcdefghij"}
    assert len(canaries) > 5


def test_two_devices_with_one_draw_are_told_apart_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (module, assignment):
        monkeypatch.setattr(room, "draw", lambda salt, device: {"a": 1, "b": 5, "c": 5, "d": 9}[device])
    roster = [camera(name) for name in "dcba"]
    planned = plan_waves([Wave(count=2), Wave(percent=100)], roster, SALT)
    assert planned[0].devices == ("a", "b")
    assert (planned[0].signed.share, planned[0].signed.devices) == (5, ("b",))
    assert [wave_of([wave.signed for wave in planned], SALT, name, {}) for name in "abcd"] == [0, 0, 1, 1]


@pytest.mark.parametrize("percent", [0, -1, 100.5, float("nan")])
def test_a_percentage_out_of_bounds_is_refused(percent: float) -> None:
    assert any(it.startswith(f"waves[0].percent: found {percent:g}; expected more than 0") for it in problems([Wave(percent=percent)]))


def test_waves_that_do_not_grow_are_refused() -> None:
    assert problems([Wave(percent=25), Wave(percent=10), Wave(percent=100)]) == [
        "waves[1]: has 4 devices of 40, and waves[0] before it 10; expected more than 10. Fix: waves add up: write how much has the "
        "release after the wave"
    ]


def test_a_wave_whose_devices_are_all_in_waves_before_it_is_refused() -> None:
    assert problems([Wave(percent=50), Wave(percent=100), Wave(group="lab")]) == [
        "waves[2]: every device of it is in a wave before it; expected at least one device. Fix: remove it, or move it before the wave "
        "that takes them"
    ]


def test_a_last_wave_that_does_not_reach_all_is_refused() -> None:
    found = problems([Wave(percent=10), Wave(labels={"site": "a"})])
    assert len(found) == 1
    assert found[0].startswith("waves[1]: after the last wave ")
    assert found[0].endswith("expected waves that reach all devices. Fix: end with `percent: 100`")


def test_labels_groups_and_devices_that_nobody_has_are_refused_with_what_is_near() -> None:
    waves = [
        Wave(labels={"site": "c"}),
        Wave(labels={"sight": "a"}),
        Wave(group="labs"),
        Wave(devices=["camera-99", "camera-1", "camera-1"]),
    ]
    assert problems([*waves, Wave(percent=100)]) == [
        "waves[0].labels.site: no device has 'c' for 'site'; expected one of a, b",
        "waves[1].labels.sight: no device has the label 'sight'; expected one of the labels group, site",
        "waves[2].group: no device has 'labs' for 'group'; expected one of field, lab. Fix: did you mean 'lab'?",
        "waves[3].devices[2]: names 'camera-1' again; expected each device once. Fix: remove it",
        "waves[3].devices[0]: the fleet has no device 'camera-99'; expected an enrolled device. Fix: did you mean 'camera-9'?",
    ]


@pytest.mark.parametrize(
    ("wave", "said"),
    [
        (Wave(), "waves[0]: says no devices"),
        (Wave(percent=1, count=1), "waves[0]: has both `percent` and `count`"),
        (Wave(devices=["camera-1"], count=1), "waves[0]: has `devices` beside another choice"),
        (Wave(count=0), "waves[0].count: found 0; expected 1 to 1,000,000"),
        (Wave(count=41), "waves[0].count: found 41; expected 1 to 40"),
        (Wave(group="lab", labels={"group": "field"}), "waves[0]: `group` is 'lab' and the label `group` 'field'"),
        (Wave(labels={"site": "b", "group": "none"}), "waves[0].labels.group: no device has 'none'"),
    ],
)
def test_a_wave_that_says_no_or_two_things_is_refused(wave: Wave, said: str) -> None:
    assert any(it.startswith(said) for it in problems([wave, Wave(percent=100)]))


def test_labels_that_no_device_has_together_are_refused() -> None:
    roster = [camera("a", {"site": "a", "kind": "x"}), camera("b", {"site": "b", "kind": "y"})]
    assert problems([Wave(labels={"site": "a", "kind": "y"}), Wave(percent=100)], roster) == [
        "waves[0].labels: no device has all of these labels; expected labels that one device has together"
    ]


@pytest.mark.parametrize(
    ("waves", "roster", "said"),
    [
        ([], FLEET, "waves: no wave"),
        ([Wave(percent=100)], [], "waves: the fleet has no devices"),
        ([Wave("x", percent=1), Wave("x", percent=100)], FLEET, "waves: two waves are named 'x'"),
    ],
)
def test_a_list_that_cannot_be_rolled_out_is_refused(waves: list[Wave], roster: list[Any], said: str) -> None:
    assert any(it.startswith(said) for it in problems(waves, roster))
