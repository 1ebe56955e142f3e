"""The figures of a migration policy, as a user writes them: what is wrong is said at once, with its place."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.arguments.checking import check
from isthmus.arguments.policy_file import PolicySettings, load_policy
from isthmus.errors import InputError

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


def test_an_unmeasured_device_counts_as_cool_and_its_battery_as_full() -> None:
    levels = [{"name": "low", "until": 20, "stays_seconds": 600, "joules_factor": 5}, {"name": "full", "stays_seconds": 9000}]
    hot, battery = check(PolicySettings, changed("battery", {"levels": levels}), "file").situation().rooms
    assert (hot.axis.dimension.name, hot.axis.dimension.unit, hot.axis.dimension.unmeasured) == ("temperature", "degrees", 0)
    assert (battery.axis.dimension.name, battery.axis.dimension.unit, battery.axis.dimension.unmeasured) == ("battery", "percent", 1)
    assert [it.joules_factor for it in battery.levels] == [5, 1]


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
    "a battery without edges": ("battery", {"levels": [{"name": "a"}, {"name": "b"}]}, "file.battery.levels[0].until: is missing"),
    "what it was called once": ("headroom", {"unit": "degrees", "levels": []}, "say `temperature` (by degrees) or `battery`"),
    "a name misspelt": ("deadlin_ms", 5, "did you mean 'deadline_ms'"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_wrong_is_said_with_its_place(which: str) -> None:
    path, value, said = WRONG[which]
    assert said in problems(changed(path, value))


def test_all_that_is_wrong_is_said_at_once() -> None:
    raw = {**changed("network.levels.0.until", ...), "data": "stays_on_device", "joules_per_megabyte": 5}
    raw["device"]["p95_ms"] = 1
    said = problems(raw)
    assert all(it in said for it in ("network.levels[0].until", "file.cloud", "file.peers", "file.device.p95_ms"))


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(RAW)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)
def test_any_value_is_a_finding_or_a_situation(name: str, value: Any) -> None:
    try:
        check(PolicySettings, {**RAW, name: value}, "file").situations()
    except InputError as error:
        said = str(error)
    else:
        return
    assert name in said or "contradicts" in said


@pytest.mark.parametrize("content", ["[", "- 1\n- 2", "", "name: 2026-99-99", "\x00"])
def test_a_file_that_is_no_mapping_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(content)
    with pytest.raises(InputError):
        load_policy("policy.yaml", tmp_path, "file")
    with pytest.raises(InputError, match=r"cannot read policy file 'none.yaml'"):
        load_policy("none.yaml", tmp_path, "file")
