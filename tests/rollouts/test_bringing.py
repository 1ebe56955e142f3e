"""Bringing a release to a fleet: every way in which it ends."""

from collections import Counter
from dataclasses import replace

import pytest
from tests.fleet_sayings import FLEET
from tests.rollouts.world import GATE, NEW, OLD, THIRD, WAVES, World, digest_of, failing, intent, silent, wave_devices, well

from isthmus.errors import InputError
from isthmus.fleet.waves import Wave
from isthmus.repository import changes, roster
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import at, observed
from isthmus.rollouts.stopping import RolloutAbortedError, RolloutPausedError
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.roster import Device, Roster
from isthmus_agent.formats.window import Window


def touched(world: World, content: bytes) -> set[str]:
    """Devices that were ever told to have a content."""
    had = {name: {it.variant.digest for it in seen if it and it.variant} for name, seen in world.history.items()}
    return {name for name, contents in had.items() if digest_of(content) in contents}


def test_a_release_that_is_sealed_from_now_on_or_no_more_is_told_anew_with_the_same_content(world: World):
    world.bring(intent(OLD))
    for number, key in ((2, world.fleet.content_key), (3, b"another secret's key".ljust(32)), (4, None)):
        for _ in range(2):  # what is told already is told once
            assert [it.state for it in world.bring(intent(OLD, key=key)).waves] == ["passed"] * 3
        told = world.told
        assert (told.number, told.variants, told.deltas) == (number, intent(OLD, key=key).variants, ())
        assert told.before is not None
        assert told.before.variants != told.variants
    assert Counter(world.contents().values()) == {digest_of(OLD): 12}


def test_of_a_content_that_is_sealed_with_another_secrets_key_it_is_said_that_there_is_no_delta(settled: World):
    settled.bring(intent(THIRD, key=bytes(32)))
    assert not [line for line in settled.lines if line.startswith("no delta")]
    settled.bring(intent(NEW), upto=0)
    said = f"no delta from {digest_of(THIRD)[7:19]}: it is sealed with the key of another secret of the fleet"
    assert [line for line in settled.lines if line.startswith("no delta")] == [said]
    assert {it.from_ for it in settled.told.deltas} == {digest_of(OLD)}


def test_a_release_comes_to_all_devices_wave_by_wave(world: World):
    found = world.bring(intent(OLD))
    assert [it.state for it in found.waves] == ["passed"] * 3
    assert Counter(world.contents().values()) == {digest_of(OLD): 12}
    assert (world.told.number, world.told.open_waves, world.told.before) == (1, 3, None)
    assert world.told.passed_seconds is not None
    assert found.versions == {digest_of(OLD): 12}
    assert [line for line in world.lines if "is open" in line or "fleet's" in line] == [
        f"number 1: {digest_of(OLD)[7:19]} (1.937 kB) for 12 devices in 3 waves; wave canary is open",
        "wave wave-2 is open: 4 devices",
        "wave rest is open: 6 devices",
        "number 1 is the fleet's: all waves have passed",
    ]
    assert "wave canary: 0 of 2 confirmed, 2 silent" in world.lines
    assert "wave rest: 6 of 6 confirmed" in world.lines


def test_no_wave_is_opened_before_the_one_before_it_has_soaked(world: World):
    world.bring(intent(OLD))
    first, second, third = world.told.opened_seconds
    assert min(second - first, third - second) >= GATE.soak_seconds


def test_what_was_before_is_what_came_to_its_end_and_there_are_deltas_from_it(settled: World):
    settled.bring(intent(NEW))
    told = settled.told
    assert told.before is not None
    assert (told.number, told.before.number, told.before.variants[0].digest) == (2, 1, digest_of(OLD))
    assert [(it.from_, it.to) for it in told.deltas] == [(digest_of(OLD), digest_of(NEW))]
    assert told.deltas[0].bytes < told.variants[0].bytes / 4
    assert any(key.endswith(".delta") for key in settled.store.objects)


def test_a_release_that_is_there_already_is_not_told_again(settled: World):
    settled.store.puts.clear()
    found = settled.bring(intent(OLD))
    assert (found.number, settled.store.puts) == (1, [])
    assert settled.lines == ["wave rest: 6 of 6 confirmed"]


def test_a_release_that_fails_in_the_canary_is_taken_back_and_nobody_else_ever_had_it(settled: World):
    settled.behave = failing(NEW)
    with pytest.raises(RolloutAbortedError) as caught:
        settled.bring(intent(NEW))
    canary = sorted(touched(settled, NEW))
    assert len(canary) == 2
    assert (settled.told.number, caught.value.number) == (3, 3)
    assert Counter(settled.contents().values()) == {digest_of(OLD): 12}
    assert caught.value.standing.waves[0].state == "aborted"
    head, *rest = str(caught.value).splitlines()
    assert head.startswith(f"fleet cameras: number 2 ({digest_of(NEW)[7:19]}) is aborted in wave canary: 2 of 2 devices failed")
    assert head.endswith(f"every device goes back to {digest_of(OLD)[7:19]} under number 3")
    assert rest == [f"  rolled back, crashed: {canary[0]}, {canary[1]}"]


def test_a_release_that_is_tried_again_after_an_abort_begins_at_the_canary(settled: World):
    settled.behave = failing(NEW)
    with pytest.raises(RolloutAbortedError):
        settled.bring(intent(NEW))
    settled.behave = well
    settled.bring(intent(NEW), upto=0)
    assert (settled.told.number, settled.told.open_waves) == (4, 1)
    assert Counter(settled.contents().values()) == {digest_of(OLD): 10, digest_of(NEW): 2}


def test_a_release_that_fails_in_a_late_wave_is_taken_back_from_the_early_ones_too(settled: World):
    settled.bring(intent(NEW), upto=1)
    settled.behave = failing(NEW, *wave_devices(settled, 0), *wave_devices(settled, 1))
    with pytest.raises(RolloutAbortedError, match="in wave rest"):
        settled.bring(intent(NEW))
    assert Counter(settled.contents().values()) == {digest_of(OLD): 12}


def test_devices_that_say_nothing_until_the_deadline_abort_it(settled: World):
    settled.behave = silent(NEW)
    began = settled.time
    with pytest.raises(RolloutAbortedError, match="2 of them by silence until the deadline"):
        settled.bring(intent(NEW))
    assert GATE.deadline_seconds <= settled.time - began < GATE.deadline_seconds + 15


def test_the_first_release_of_a_fleet_has_nothing_to_go_back_to_and_is_paused(world: World):
    world.behave = failing(OLD)
    with pytest.raises(RolloutPausedError, match=r"fails, and is paused in wave canary.*there is none to go back to"):
        world.bring(intent(OLD))
    assert (world.told.number, world.told.paused) == (1, True)
    world.behave = well
    world.bring(intent(NEW))
    assert Counter(world.contents().values()) == {digest_of(NEW): 12}


def test_what_is_unclear_pauses_until_somebody_has_looked(settled: World):
    wanted = intent(NEW, waves=(Wave(count=6), Wave(percent=100)), gates=[replace(GATE, max_failure_percent=5)] * 2)
    settled.bring(wanted, upto=0, wait=False)
    bad = sorted(wave_devices(settled, 0))[:2]
    settled.behave = lambda device, content: (failing(NEW) if device in bad else well)(device, content)
    with pytest.raises(RolloutPausedError, match="is paused in wave canary: 2 of 6 devices failed: more than the 1") as caught:
        settled.bring(wanted, upto=1)
    assert str(caught.value).splitlines()[1:] == [f"  rolled back, crashed: {bad[0]}, {bad[1]}"]
    assert settled.told.paused
    with pytest.raises(RolloutPausedError, match="was paused"):
        settled.bring(wanted, upto=1)
    settled.change(lambda told, number: changes.promoted(told, number, at(settled.time)))
    settled.change(lambda told, number: changes.resumed(told, number, at(settled.time)))
    settled.bring(wanted, upto=1)
    assert (settled.told.number, settled.told.open_waves) == (2, 2)
    assert settled.told.passed_seconds is not None


def test_a_pause_of_somebody_elses_stops_it_and_it_goes_on_after(settled: World):
    settled.between = [lambda: settled.change(changes.paused)]
    with pytest.raises(RolloutPausedError, match="was paused"):
        settled.bring(intent(NEW))
    settled.time += 10 * GATE.deadline_seconds  # nobody could begin meanwhile: the deadline begins anew
    settled.change(lambda told, number: changes.resumed(told, number, at(settled.time)))
    settled.bring(intent(NEW))
    assert Counter(settled.contents().values()) == {digest_of(NEW): 12}


def test_a_fleet_that_somebody_has_paused_at_rest_is_told_nothing_new(settled: World):
    settled.change(changes.paused)
    with pytest.raises(RolloutPausedError):
        settled.bring(intent(NEW))
    assert settled.told.number == 1


def test_without_waiting_it_says_what_stands_and_opens_what_has_passed(settled: World):
    wanted = intent(NEW)
    found = settled.bring(wanted, wait=False)
    assert [it.state for it in found.waves] == ["waiting", "closed", "closed"]
    assert settled.lines[-1] == "wave canary: 0 of 2 confirmed, 2 silent"
    for count in (2, 3):
        settled.pause(1)
        settled.pause(60)
        assert len(settled.bring(wanted, wait=False).open_waves) == count
    settled.pause(1)
    settled.pause(60)
    assert settled.bring(wanted, wait=False).passed_seconds is not None


def test_it_goes_no_further_than_it_is_asked(settled: World):
    found = settled.bring(intent(NEW), upto=1)
    assert [it.state for it in found.waves] == ["passed", "passed", "closed"]
    assert settled.told.open_waves == 2


def test_what_is_signed_is_enough_to_go_on(settled: World):
    settled.bring(intent(NEW), wait=False)
    assert settled.follow().passed_seconds is not None
    assert Counter(settled.contents().values()) == {digest_of(NEW): 12}


def test_a_fleet_that_was_told_nothing_has_nothing_to_follow(world: World):
    with pytest.raises(InputError, match="told nothing yet"):
        world.follow()


def test_other_gates_keep_the_number(settled: World):
    settled.bring(intent(NEW), upto=0)
    other = intent(NEW, gates=[replace(GATE, soak_seconds=30)] * 3, probation=Probation(7), window=Window(0, 1439))
    settled.bring(other, upto=0)
    told = settled.told
    assert (told.number, told.probation.seconds, told.window) == (2, 7, Window(0, 1439))
    assert {it.gate.soak_seconds for it in told.waves if it.gate} == {30}
    assert told.opened_seconds[0] < settled.time


def test_other_waves_take_another_number(settled: World):
    settled.bring(intent(NEW), upto=0)
    before = settled.contents()
    settled.bring(intent(NEW, waves=(*WAVES[:2], Wave("last", percent=100))), upto=0, wait=False)
    assert settled.told.number == 3
    assert settled.contents() == before


def test_a_release_that_replaces_one_before_its_end_disturbs_nobody_outside_its_canary(settled: World):
    settled.bring(intent(NEW), upto=1)
    had = settled.contents()
    assert Counter(had.values()) == {digest_of(OLD): 6, digest_of(NEW): 6}
    settled.bring(intent(THIRD), upto=0)
    now = settled.contents()
    assert Counter(now.values()) == {digest_of(OLD): 6, digest_of(NEW): 4, digest_of(THIRD): 2}
    assert {name: it for name, it in now.items() if it != digest_of(THIRD)}.items() <= had.items()
    settled.bring(intent(THIRD))
    assert (settled.told.number, Counter(settled.contents().values())) == (3, {digest_of(THIRD): 12})


def test_an_abort_goes_back_to_what_came_to_its_end_and_not_to_what_was_replaced(settled: World):
    settled.bring(intent(NEW), upto=1)
    settled.behave = failing(THIRD)
    with pytest.raises(RolloutAbortedError):
        settled.bring(intent(THIRD))
    assert Counter(settled.contents().values()) == {digest_of(OLD): 12}


def test_a_look_at_a_large_fleet_is_taken_less_often(settled: World):
    settled.store.pages = 0
    settled.behave = silent(NEW)
    with pytest.raises(RolloutAbortedError):
        settled.bring(intent(NEW))
    assert settled.store.pages < 90  # in 600 seconds


def test_a_fleet_without_devices_is_told_how_they_are_enrolled(world: World):
    roster.change(world.fleet.place, world.fleet.keyring, FLEET, lambda _: Roster(FLEET))
    with pytest.raises(InputError, match=r"it has no devices.*isthmus fleet enrol DEVICE --fleet cameras"):
        world.bring(intent(OLD))


def test_without_the_fleets_secret_nothing_is_brought(world: World):
    world.fleet = replace(world.fleet, secret=None)
    with pytest.raises(InputError, match="its secret is not here"):
        world.bring(intent(OLD))


def test_what_is_wrong_with_the_waves_or_gates_is_said_before_anything_is_written(world: World):
    world.store.puts.clear()
    for wrong, said in [
        (intent(OLD, waves=(Wave(count=99), *WAVES[1:])), r"waves\[0\]\.count: found 99"),
        (intent(OLD, gates=[replace(GATE, min_reports=5), GATE, GATE]), r"waves\[0\]\.gate\.min_reports"),
        (intent(OLD, probation=Probation(400), window=Window(0, 600, 300)), r"waves\[0\]\.gate\.deadline_seconds: is 600 s, and no device"),
    ]:
        with pytest.raises(InputError, match=said):
            world.bring(wrong)
    assert world.store.puts == []


def test_a_device_that_joins_meanwhile_is_one_of_the_wave_that_has_it(settled: World):
    def join() -> None:
        roster.change(settled.fleet.place, settled.fleet.keyring, FLEET, lambda found: found.with_device(Device("new", "small")))

    settled.between = [join]
    assert settled.bring(intent(NEW)).devices == 13


def test_who_looks_on_sees_the_versions_on_the_fleet(settled: World):
    settled.bring(intent(NEW), upto=0)
    found = observed(settled.fleet, now=settled.now, pause=settled.pause)
    assert found is not None
    assert found.versions == {digest_of(OLD): 10, digest_of(NEW): 2}
    blind = observed(Fleet(settled.fleet.place, settled.fleet.keyring, FLEET), now=settled.now)
    assert blind is not None
    assert (blind.is_read, [it.state for it in blind.waves]) == (False, ["open", "closed", "closed"])


def test_who_looks_on_at_a_fleet_that_was_told_nothing_sees_nothing(world: World):
    assert observed(world.fleet, now=world.now) is None
