"""What a user writes about a rollout: checked, all at once, and as the pure rooms and the signed format take it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isthmus.arguments import components
from isthmus.arguments.checking import check, problems_of
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.rolling import RollingSettings
from isthmus.arguments.secrets import in_plain
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.platforms.rules import with_platforms
from isthmus_agent.formats import samples_wanted
from isthmus_agent.formats.assignment import Assignment, from_value
from isthmus_agent.formats.assignment import Wave as SignedWave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.turns import Budget
from isthmus_agent.formats.window import Window

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"
EdgeSettings = with_platforms(components.EdgeSettings)
KEY = "x25519:3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
PATIENT = {"deadline_seconds": 30 * 86_400}
WAVES = [{"devices": ["camera-7", "camera-8"]}, {"name": "lab", "group": "lab", "gate": {"soak_seconds": 5}}, {"percent": 100}]


def rolling(**said: Any) -> RollingSettings:
    return check(RollingSettings, {"fleet": "f.yaml", **said}, "fleets.x")


def messages(**said: Any) -> list[str]:
    return [str(problem) for problem in problems_of(EdgeSettings, {"model": "m", "fleet": "f.yaml", **said}, "fleets.x")[1]]


def test_without_waves_one_device_has_the_release_first_and_then_all() -> None:
    waves = [Wave("canary", count=1), Wave("rest", percent=100)]
    assert (rolling().wave_list(3), rolling().wave_list(0)) == (waves, waves)
    assert rolling().gates(3) == [Gate(), Gate()]


def test_counts_are_shared_where_it_is_said_and_where_there_is_a_policy_to_count_by() -> None:
    assert not rolling().share_counts
    assert rolling(share_counts=True, policy="p.yaml").share_counts
    assert any("share_counts: there is nothing to count" in it for it in messages(share_counts=True))
    assert any("fleets.x.share_counts" in it for it in messages(share_counts="often", policy="p.yaml", fallback_url="https://cloud"))
    said = messages(share_counts=True, policy="p.yaml", data="stays_on_device")
    assert any("policy: takes from devices what they are asked" in it for it in said)


def test_without_waves_a_fleet_of_one_device_has_one_wave() -> None:
    assert [(wave.percent, wave.count) for wave in rolling().wave_list(1)] == [(100, None)]
    assert rolling().gates(1) == [Gate()]


def test_waves_are_as_they_are_written() -> None:
    assert rolling(waves=WAVES).wave_list(9) == [
        Wave(devices=("camera-7", "camera-8")),
        Wave("lab", group="lab"),
        Wave(percent=100),
    ]


def test_a_waves_own_gate_changes_what_it_says_and_nothing_else() -> None:
    first, second, third = rolling(waves=WAVES, gate={"soak_seconds": 60, "max_failure_percent": 1}).gates(9)
    assert first == third == Gate(soak_seconds=60, max_failure_percent=1)
    assert second == Gate(soak_seconds=5, max_failure_percent=1)


def test_a_waves_own_gate_may_say_a_default_again() -> None:
    waves = [{"percent": 100, "gate": {"max_failure_percent": Gate.max_failure_percent}}]
    assert rolling(waves=waves, gate={"max_failure_percent": 9}).gates(9) == [Gate()]


def test_what_nobody_says_of_probation_is_what_the_signed_format_takes_for_granted() -> None:
    assert rolling().probation_of() == Probation()
    assert rolling().window_of() is None


PROBATIONS = st.fixed_dictionaries(
    {},
    optional={
        "seconds": st.integers(0, 604_800),
        "max_crashes": st.integers(0, 1000),
        "max_p95_ms": st.floats(0.001, 3_600_000),
        "max_memory_megabytes": st.floats(1, 2**53 // 10**6),
        "max_distribution_distance": st.floats(0, 1),
    },
)
TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda it: f"{it[0]:02d}:{it[1]:02d}")


@given(probation=PROBATIONS, times=st.tuples(TIMES, TIMES).filter(lambda it: it[0] != it[1]), jitter=st.integers(0, 60))
def test_whatever_is_accepted_is_accepted_by_devices_too(probation: dict[str, Any], times: tuple[str, str], jitter: int) -> None:
    settings = rolling(gate=PATIENT, probation=probation, window={"from": times[0], "to": times[1], "jitter_seconds": jitter})
    variant = Variant("*", f"sha256:{0:064}", "f/x.bundle", 1)
    signed = Assignment(
        "f", 1, "0" * 16, (variant,), (SignedWave("all", 2**32),), 0, (), None, settings.probation_of(), settings.window_of()
    )
    assert from_value(signed.to_value()) == signed


def test_units_are_those_of_the_signed_format() -> None:
    said = {"seconds": 30, "max_p95_ms": 20.5, "max_memory_megabytes": 1.5, "max_distribution_distance": 0.1}
    assert rolling(probation=said).probation_of() == Probation(30, 0, 20_500, 1_500_000, 100_000)
    assert rolling(gate=PATIENT, window={"from": "22:30", "to": "04:00"}).window_of() == Window(1350, 240)
    assert rolling().budget_of() is None
    assert rolling(budget={"label": "site", "most_unavailable": 2}).budget_of() == Budget("site", 2)
    assert rolling(budget={"label": "site", "most_unavailable_percent": 0.29}).budget_of() == Budget("site", None, 2900)


@pytest.mark.parametrize(
    ("said", "where", "message"),
    [
        ({"deadline_seconds": 60}, "deadline_seconds", "no such argument. Fix: say it of the waves' gate: `gate: {deadline_seconds: …}`"),
        ({"gate": {"max_failure_percent": 60}}, "gate.max_failure_percent", "found 60; expected 0 to 50"),
        (
            {"gate": {"when_unclear": "passs"}},
            "gate.when_unclear",
            "unknown choice 'passs'; expected pause or pass. Fix: did you mean 'pass'?",
        ),
        ({"gate": {"soak_second": 1}}, "gate.soak_second", "no such argument. Fix: did you mean 'soak_seconds'?"),
        ({"waves": []}, "waves", "no wave; expected at least one. Fix: write `[{percent: 100}]`"),
        ({"waves": [{}]}, "waves[0]", "says no devices; expected `percent`, `count`, `group`, `labels` or `devices`. Fix: add one of them"),
        ({"waves": [{"percent": 0}]}, "waves[0].percent", "found 0; expected more than 0, 100 at most"),
        ({"waves": [{"count": 0}]}, "waves[0].count", "found 0; expected 1 to 1,000,000"),
        ({"waves": [{"percent": 1, "count": 1}]}, "waves[0]", "has both `percent` and `count`; expected one of them. Fix: remove one"),
        (
            {"waves": [{"percent": 1, "name": "x"}, {"percent": 2, "name": "x"}]},
            "waves",
            "two waves are named 'x'; expected different names",
        ),
        ({"budget": {"most_unavailable": 1}}, "budget.label", "is missing"),
        ({"budget": {"label": "site"}}, "budget", "says no number; expected `most_unavailable` or `most_unavailable_percent`"),
        (
            {"budget": {"label": "site", "most_unavailable": 2, "most_unavailable_percent": 5}},
            "budget",
            "has both `most_unavailable` and `most_unavailable_percent`; expected one of them. Fix: remove one",
        ),
        ({"budget": {"label": "a b", "most_unavailable": 1}}, "budget.label", "found 'a b'; expected a name: 1 to 64 of A-Z"),
        ({"budget": {"label": "site", "most_unavailable": 0}}, "budget.most_unavailable", "found 0; expected 1 to 1,000,000"),
        (
            {"budget": {"label": "site", "most_unavailable_percent": 0}},
            "budget.most_unavailable_percent",
            "found 0; expected 0.0001 to 100",
        ),
        ({"waves": [{"percent": 1}] * 65}, "waves", "has 65; expected 64 at most"),
        ({"waves": [{"percent": 1, "name": "a b"}]}, "waves[0].name", "found 'a b'; expected a name: 1 to 64 of A-Z"),
        ({"waves": [{"labels": {"site": 3}}]}, "waves[0].labels", "site: found 3; expected a label's value"),
        ({"waves": [{"percent": 1, "gate": {"min_reports": 0}}]}, "waves[0].gate.min_reports", "found 0; expected 1 to 1,000,000"),
        ({"probation": {"seconds": -1}}, "probation.seconds", "found -1; expected 0 to 604,800"),
        ({"probation": {"max_distribution_distance": 2}}, "probation.max_distribution_distance", "found 2; expected 0 to 1"),
        ({"window": {"from": "01:00"}}, "window.to", "is missing"),
        ({"window": {"from": "1:00", "to": "05:00"}}, "window.from", "found '1:00'; expected a time of day in UTC, such as \"01:30\""),
        (
            {"window": {"from": 750, "to": "05:00"}},
            "window.from",
            'found 750; expected a time of day in UTC, such as "01:30". Fix: write it in quotes',
        ),
        ({"window": {"from": "05:00", "to": "05:00"}}, "window.to", "it opens and closes at the same minute"),
        (
            {"window": {"from": "05:00", "to": "06:00", "jitter_seconds": 3601}},
            "window.jitter_seconds",
            "is 3601 s, and the window is open for 3600 s",
        ),
        ({"window": {"form": "05:00", "to": "06:00", "from": "05:00"}}, "window.form", "no such argument. Fix: did you mean 'from'?"),
        ({"keys": ""}, "keys", "found ''"),
        ({"variants": [{"class": "small", "recipe": "int9"}]}, "variants[0].recipe", "unknown recipe 'int9'"),
        (
            {"variants": [{"class": "small", "recipe": "serving-only"}]},
            "variants[0].recipe",
            "serving-only makes nothing that devices can run",
        ),
        ({"variants": [{"class": "a b", "recipe": "int8"}]}, "variants[0].class", "found 'a b'; expected a name"),
        ({"variants": [{"class": "a", "recipe": "int8"}] * 2}, "variants", "two variants ('a', 'int8')"),
        (
            {"device_access": {"access_key": "k", "secret_key": "s"}},
            "device_access",
            "the stack's own store gives each device its own access",
        ),
        (
            {"device_access": {"access_key": "k"}, "store": {"endpoint": "u", "access_key": "k", "secret_key": "s"}},
            "device_access.secret_key",
            "is missing",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_a_way_out(said: dict[str, Any], where: str, message: str) -> None:
    found = messages(**said)
    assert len(found) == 1, found
    assert found[0].startswith(f"fleets.x.{where}: {message}")


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ({}, False),
        ({"min_confidence": 0.8}, True),
        ({"data": "may_leave_device"}, True),
        ({"data": "stays_on_device"}, False),
        ({"samples": {"owner_key": KEY, "share_percent": 1}}, False),
    ],
)
def test_devices_ask_the_cloud_only_where_somebody_has_said_so(said: dict[str, Any], asks: bool) -> None:
    assert rolling(**said).asks_cloud() is asks


def test_what_would_take_inputs_off_devices_is_refused_where_they_are_to_stay() -> None:
    said = {
        "min_confidence": 0.8,
        "policy": "p.yaml",
        "fallback_url": "https://cloud.example",
        "samples": {"owner_key": KEY, "share_percent": 1},
    }
    found = messages(data="stays_on_device", **said)
    assert [it.split(": ")[0] for it in found] == [f"fleets.x.{name}" for name in ("min_confidence", "policy", "samples", "fallback_url")]
    assert all("what they are asked, and `data` says stays_on_device. Fix: remove it, or say may_leave_device" in it for it in found)
    assert messages(data="may_leave_device", **said) == []
    assert "did you mean 'stays_on_device'" in messages(data="stays_on_devices")[0]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = messages(
        waves=[{"percent": 200}, {"count": 0}], gate={"soak_seconds": -1}, probation={"second": 1}, window={"from": "x", "to": "y"}
    )
    assert [message.split(": ")[0].removeprefix("fleets.x.") for message in found] == [
        "waves[0].percent", "waves[1].count", "gate.soak_seconds", "probation.second", "window.from", "window.to",
    ]  # fmt: skip


def test_the_access_of_devices_is_a_secret() -> None:
    found = [path for path, _ in in_plain(EdgeSettings, {"device_access": {"access_key": "k", "secret_key": "s"}})]
    assert found == [("device_access", "access_key"), ("device_access", "secret_key")]
    wrong = messages(
        device_access={"access_key": "hunter2", "secret": "hunter2"}, store={"endpoint": "u", "access_key": "k", "secret_key": "s"}
    )
    assert "hunter2" not in " ".join(wrong)


@pytest.mark.parametrize(
    ("said", "where", "message"),
    [
        (
            {"gate": {"soak_seconds": 3540}},
            "gate.deadline_seconds",
            "is 3600 s, and a device is on probation for 60 s and soaks for 3540 s before it counts (wave canary); expected more than 3600",
        ),
        (
            {"waves": [{"percent": 1}, {"percent": 100, "gate": {"deadline_seconds": 9}}]},
            "waves[1].gate.deadline_seconds",
            "is 9 s, and a device is on probation for 60 s and soaks for 300 s before it counts; expected more than 360",
        ),
        (
            {"window": {"from": "01:00", "to": "05:00", "jitter_seconds": 600}},
            "gate.deadline_seconds",
            "is 3600 s, and a device may wait 72600 s for the window, is on probation for 60 s and soaks for 300 s before it counts",
        ),
    ],
)
def test_a_deadline_that_no_device_can_meet_is_refused(said: dict[str, Any], where: str, message: str) -> None:
    found = messages(**said)
    assert len(found) == 1, found
    assert found[0].startswith(f"fleets.x.{where}: {message}")


def test_what_a_gate_says_for_all_waves_is_wrong_where_it_stands() -> None:
    assert messages(gate={"min_reports": 5}) == [
        "fleets.x.gate.min_reports: the wave can never pass: it asks for 5 reports and has 1 devices (wave canary); expected 1 at most. "
        "Fix: lower it, or make the wave larger"
    ]


def test_what_the_page_shows_is_right() -> None:
    rollout, fleet, variants = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    )
    assert check(RollingSettings, rollout, "fleets.x").window_of() == Window(60, 300, 3600)
    assert check(FleetSettings, fleet, "fleets.x.fleet").classes["small"].speed_factor == 8
    assert messages(**variants) == []


def test_without_variants_the_recipe_is_for_every_class() -> None:
    args = {"model": "m", "fleet": "f.yaml", "recipe": "int4"}
    assert check(EdgeSettings, args, "fleets.x").offered() == [("*", "int4", ".recipe")]
    variants = [{"class": "small", "recipe": "int8"}, {"class": "*", "recipe": "float16"}]
    assert check(EdgeSettings, {**args, "variants": variants}, "fleets.x").offered() == [
        ("small", "int8", ".variants[0]"),
        ("*", "float16", ".variants[1]"),
    ]


def test_samples_are_signed_in_whole_numbers_and_left_out_nothing_is() -> None:
    assert rolling().samples is None
    found = rolling(samples={"owner_key": KEY, "share_percent": 0.5, "labels": {"site": "a"}}).samples
    assert found is not None
    wanted = found.signed()
    assert (wanted.share_millionths, wanted.most_per_day, wanted.most_bytes, wanted.labels) == (5000, 24, 64_000, {"site": "a"})
    assert samples_wanted.from_value(wanted.to_value(), "samples") == wanted
    least = rolling(samples={"owner_key": KEY, "share_percent": 0.0001, "most_kilobytes": 262, "most_per_day": 86_400}).samples
    assert least is not None
    assert samples_wanted.from_value(least.signed().to_value(), "samples").share_millionths == 1


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ({"share_percent": 1}, "fleets.x.samples.owner_key"),
        ({"owner_key": KEY}, "fleets.x.samples.share_percent"),
        ({"owner_key": KEY, "share_percent": 0}, "expected 0.0001 to 100"),
        ({"owner_key": KEY, "share_percent": 1, "most_kilobytes": 300}, "expected 1 to 262"),
        ({"owner_key": KEY, "share_percent": 1, "most_per_day": 100_000}, "expected 1 to 86,400"),
        ({"owner_key": "-----BEGIN PRIVATE KEY-----hunter2", "share_percent": 1}, "the private half, which belongs in no stack"),
        ({"owner_key": KEY[:-4], "share_percent": 1}, "as `isthmus keys sampling` shows it"),
        ({"owner_key": f"x25519:{'A' * 43}=", "share_percent": 1}, "anybody could read"),
        ({"owner_key": KEY, "share_percent": 1, "labels": {"site": "~"}}, "a label's value"),
    ],
)
def test_what_is_wrong_with_samples_is_told(samples: dict[str, Any], told: str) -> None:
    (found,) = messages(samples=samples, gate=PATIENT)
    assert told in found
    assert "hunter2" not in found
