"""The figures of a migration policy, as a user writes them: what is wrong is said at once, with its place."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.arguments.checking import check
from isthmus.arguments.policy_file import PolicySettings, load_policy
from isthmus.errors import InputError
from isthmus.migration.situation import Answers, ThenCloud

EXAMPLE = Path(__file__).parents[2] / "policies" / "cameras.yaml"
RAW: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with another value at a place such as `network.levels.0.until`; ...: without one."""
    found = copy.deepcopy(RAW)
    at: Any = found
    *way, last = [int(it) if it.isdigit() else it for it in path.split(".")]
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return found


def problems(raw: Any) -> str:
    with pytest.raises(InputError) as raised:
        check(PolicySettings, raw, "file")
    return str(raised.value)


def test_an_exponent_without_a_point_is_a_number() -> None:
    found = load_policy(EXAMPLE.name, EXAMPLE.parent, "file")
    assert RAW["cloud"]["price_per_request"] == "2e-6"  # what YAML 1.1 makes of it
    assert found.cloud is not None
    assert found.cloud.price_per_request == 2e-6
    assert found.worth.money_ms == 2e6


def test_each_class_has_a_situation_of_its_own() -> None:
    found = load_policy(EXAMPLE.name, EXAMPLE.parent, "file").situations()
    assert found["camera-old"].device.service_ms == 2 * found["camera"].device.service_ms
    assert list(check(PolicySettings, changed("classes", ...), "file").situations()) == ["*"]


WRONG: dict[str, tuple[str, Any, str]] = {
    "cloud against privacy": ("data", "stays_on_device", "file.cloud: contradicts `data: stays_on_device`"),
    "peers against privacy": ("data", "stays_on_device", "file.peers: contradicts `data: stays_on_device`"),
    "cloud against the group": ("data", "stays_in_group", "file.cloud: contradicts `data: stays_in_group`"),
    "no such privacy": ("data", "stays_on_devise", "did you mean 'stays_on_device'"),
    "true as a number": ("deadline_ms", True, "file.deadline_ms: found True; expected a number"),
    "a word as a number": ("deadline_ms", "soon", "file.deadline_ms: found 'soon'; expected a number"),
    "not a number": ("deadline_ms", float("nan"), "file.deadline_ms"),
    "without end": ("request_bytes", float("inf"), "file.request_bytes"),
    "huge": ("request_bytes", "1e999", "file.request_bytes"),
    "no discount": ("discount", 1.0, "file.discount: found 1"),
    "edges that fall": ("network.levels.1.until", 20, "file.network.levels[1].until: found 20; expected more than 30"),
    "no edge": ("network.levels.0.until", ..., "file.network.levels[0].until: is missing"),
    "an edge too many": ("load.levels.3.until", 30, "file.load.levels[3].until: no level comes after"),
    "a level twice": ("load.levels.1.name", "idle", "two levels 'idle'"),
    "no level": ("load.levels", [], "file.load.levels"),
    "no link": ("network.levels.0.rtt_ms", ..., "file.network.levels[0].rtt_ms: is missing"),
    "cut and linked": ("network.levels.3.rtt_ms", 5, "file.network.levels[3].rtt_ms: a network that is cut has none"),
    "rows that do not sum to 1": (
        "load.transition",
        [[0.5, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        "file.load.transition[0]: found [0.5, 0.4, 0.0, 0.0], which sums to 0.9",
    ),
    "a matrix of another shape": ("load.transition", [[1.0]], "file.load.transition: has rows of [1]; expected 4 rows of 4"),
    "two ways to say it": ("load.transition", [[0.25] * 4] * 4, "file.load.levels[0].stays_seconds: contradicts `transition`"),
    "no time": ("load.levels.0.stays_seconds", ..., "file.load.levels[0].stays_seconds: is missing"),
    "a p95 below the mean": ("device.p95_ms", 3, "file.device.p95_ms: found 3; expected `service_ms` (34) or more"),
    "a p95 below the mean of a peer": ("peers.gateway.p95_ms", 3, "file.peers.gateway.p95_ms: found 3"),
    "a link to itself": ("device.link", {"rtt_ms": 1, "megabits_per_second": 1}, "file.device.link: the device itself has none"),
    "a wrong answer worth less than nothing": ("worth.wrong_answer_ms", -1, "file.worth.wrong_answer_ms: found -1; expected 0 to"),
    "a price that is no number": ("worth.wrong_answer_ms", float("nan"), "file.worth.wrong_answer_ms: found nan"),
    "a price without end": ("worth.wrong_answer_ms", float("inf"), "file.worth.wrong_answer_ms"),
    "a price that is a word": ("worth.wrong_answer_ms", True, "file.worth.wrong_answer_ms: found True; expected a number"),
    "more answers wrong than there are": ("device.error_percent", 101, "file.device.error_percent: found 101; expected 0 to 100"),
    "fewer than none": ("cloud.error_percent", -0.1, "file.cloud.error_percent: found -0.1; expected 0 to 100"),
    "a peer's answers": ("peers.gateway.error_percent", float("nan"), "file.peers.gateway.error_percent: found nan"),
    "more unsure than all": (
        "device_then_cloud",
        {"unsure_percent": 100.1},
        "file.device_then_cloud.unsure_percent: found 100.1; expected 0 to 100",
    ),
    "unsure of what": ("device_then_cloud", {"unsure": 5}, "file.device_then_cloud.unsure"),
    "asking that gains nothing": (
        "device_then_cloud",
        {"unsure_percent": 5, "error_percent": 5},
        "file.device_then_cloud: a wrong answer is worth nothing, so asking gains nothing",
    ),
    "more in common than all": ("network.common_percent", 101, "file.network.common_percent: found 101; expected 0 to 100"),
    "less in common than nothing": ("network.common_percent", float("-inf"), "file.network.common_percent"),
    "a load in common": ("load.common_percent", 5, "file.load.common_percent"),
    "a name misspelt": ("deadlin_ms", 5, "did you mean 'deadline_ms'"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_wrong_is_said_with_its_place(which: str) -> None:
    path, value, said = WRONG[which]
    assert said in problems(changed(path, value))


def answering(**changes: Any) -> dict[str, Any]:
    """The example, in which a wrong answer has a price, and it is known how often each place gives one."""
    found = changed("worth.wrong_answer_ms", 800)
    for place, percent in ((found["device"], 9), (found["cloud"], 4), (found["peers"]["gateway"], 9)):
        place["error_percent"] = percent
    return {**found, "device_then_cloud": {"unsure_percent": 20, "error_percent": 5}, **changes}


def test_a_place_that_asks_nobody_can_reach_is_refused() -> None:
    levels = [{"name": "cut", "cut": True}]
    said = problems(answering(network={"levels": levels}))
    assert "file.device_then_cloud: the network is cut at every level, so nobody can be asked" in said
    assert "file.device_then_cloud: there is no `cloud` that could be asked" in problems(answering(cloud=None))
    assert "file.cloud: contradicts `data: stays_in_group`" in problems(answering(data="stays_in_group"))


def test_the_device_that_then_asks_is_a_place_of_its_own() -> None:
    situation = check(PolicySettings, answering(), "file").situations()["camera"]
    assert [*situation.places] == ["device", "device_then_cloud", "cloud", "peer:gateway"]
    assert [it.error_rate for it in situation.places.values()] == [0.09, 0.05, 0.04, 0.09]
    assert situation.then_cloud == ThenCloud(0.2, 0.05)


def test_what_was_measured_fills_what_the_file_does_not_say() -> None:
    settings = check(PolicySettings, changed("worth.wrong_answer_ms", 800), "file")
    measured = Answers(0.1, 0.04, 0.06, 0.3, (("gateway", 0.08),), 500)
    situation = settings.of_class("camera", measured)
    assert [it.error_rate for it in situation.places.values()] == [0.1, 0.06, 0.04, 0.08]
    assert situation.then_cloud == ThenCloud(0.3, 0.06, 500)
    own = check(PolicySettings, answering(), "file").of_class("camera", measured)
    assert [it.error_rate for it in own.places.values()] == [0.09, 0.05, 0.04, 0.09]
    assert own.then_cloud == ThenCloud(0.2, 0.05, 500)
    assert settings.of_class("camera", replace(measured, then_cloud=None, unsure_share=None)).then_cloud is None


def test_without_a_price_everything_is_as_if_answers_were_not_known() -> None:
    plain = check(PolicySettings, RAW, "file")
    found = plain.of_class("camera", Answers(0.1, 0.04, 0.06, 0.3))
    assert found.then_cloud is None
    assert [*found.places] == ["device", "cloud", "peer:gateway"]


def test_a_price_for_what_nobody_counted_is_one_problem_for_each_place() -> None:
    raw = {**changed("worth.wrong_answer_ms", 800), "device_then_cloud": {}}
    with pytest.raises(InputError) as raised:
        check(PolicySettings, raw, "file").situations()
    assert [it.path for it in raised.value.problems] == [
        "device.error_percent",
        "cloud.error_percent",
        "device_then_cloud.error_percent",
        "device_then_cloud.unsure_percent",
        "peers.gateway.error_percent",
    ]
    assert all("is neither given nor measured" in it.what for it in raised.value.problems)


def test_all_that_is_wrong_is_said_at_once() -> None:
    raw = {**changed("network.levels.0.until", ...), "data": "stays_on_device", "joules_per_megabyte": 5}
    raw["device"]["p95_ms"] = 1
    said = problems(raw)
    assert all(it in said for it in ("network.levels[0].until", "file.cloud", "file.peers", "file.device.p95_ms"))


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from([*sorted(RAW), "device_then_cloud"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)
def test_any_value_is_a_finding_or_a_situation(name: str, value: Any) -> None:
    try:
        check(PolicySettings, {**answering(), name: value}, "file").situations()
    except InputError as error:
        said = str(error)
    else:
        return
    assert name in said or "contradicts" in said or "device_then_cloud" in said or "wrong answer" in said


@pytest.mark.parametrize("content", ["[", "- 1\n- 2", "", "name: 2026-99-99", "\x00"])
def test_a_file_that_is_no_mapping_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(content)
    with pytest.raises(InputError):
        load_policy("policy.yaml", tmp_path, "file")
    with pytest.raises(InputError, match=r"cannot read policy file 'none.yaml'"):
        load_policy("none.yaml", tmp_path, "file")
