"""From a policy file and releases to the policies that travel with them."""

import json
from pathlib import Path

import pytest
import yaml
from tests import declaring

from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.errors import InputError
from isthmus.platforms.rules import with_platforms
from isthmus.routing import read_policy, route_plans
from isthmus_agent.formats.policy import from_json

Settings = with_platforms(components.EdgeSettings)
EXAMPLE = Path(__file__).parents[1] / "policies" / "cameras.yaml"
FLEET = FleetSettings.model_validate({"name": "cameras", "classes": {"camera": {}, "camera-old": {"speed_factor": 2}}})


def written(folder: Path, *, given: dict[str, object] | None = None, **changes: object) -> components.EdgeSettings:
    """Arguments with the example's policy, changed; given: changes of the arguments. A change to None leaves the key out."""
    values = {**yaml.safe_load(EXAMPLE.read_text()), **changes}
    file = folder / "policy.yaml"
    file.write_text(json.dumps({name: it for name, it in values.items() if it is not None}))
    given = {
        "model": "models/digits",
        "fleet": "fleets/cameras.yaml",
        "fallback_url": "https://cloud",
        "policy": str(file),
        **(given or {}),
    }
    return check(Settings, {name: it for name, it in given.items() if it is not None}, "fleets.x")


def said(args: components.EdgeSettings) -> list[str]:
    return [str(it) for it in read_policy(args, FLEET, "fleets.x")[1]]


def test_each_class_that_the_file_is_for_has_a_policy_for_its_release(tmp_path: Path) -> None:
    policy, problems = read_policy(written(tmp_path), FLEET, "fleets.x")
    assert problems == []
    release = declaring.release(tmp_path)
    found = route_plans(policy, {"camera": release, "camera-old": release, "*": release})
    assert list(found) == ["camera", "camera-old"]
    for name, plan in found.items():
        read = from_json(plan.text.encode(), release.digest)
        assert (read.device_class, read.places) == (name, ("device", "cloud"))  # this fleet has no groups
        assert plan.solved.gain("never") > 0
        assert plan.solved.gain("always cloud") > 0
    assert found["camera"].text != found["camera-old"].text


def test_a_file_without_classes_is_for_all(tmp_path: Path) -> None:
    release = declaring.release(tmp_path)
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    found = route_plans(policy, {"camera": release, "*": release})
    assert {name: json.loads(it.text)["class"] for name, it in found.items()} == {"camera": "camera", "*": "*"}


def test_what_a_policy_brings_is_said_in_short_and_as_data(tmp_path: Path) -> None:
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    (found,) = route_plans(policy, {"*": declaring.release(tmp_path)}).values()
    cost, shares, figures = found.explain().splitlines()
    assert cost.startswith("a request costs ")
    assert "less than never" in cost
    assert "less than always cloud" in cost
    assert shares.startswith("in the long run: device ")
    assert figures == "with the file's figures: 34 ms on the device (p95 45); the release took 1 ms (p95 1) where it was measured"
    output = json.loads(json.dumps(found.output(), allow_nan=False))
    assert output["cost_ms"] < min(output["rivals_ms"].values())
    assert sum(output["shares"].values()) == pytest.approx(1)
    assert output["bytes"] < 2_000


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"cloud": None}, "fleets.x.policy: has no `cloud`"),
        ({"cloud": None, "data": "stays_in_group"}, "fleets.x.policy: has no `cloud`"),
        ({"data": "stays_on_device", "peers": None}, "fleets.x.policy.cloud: contradicts `data: stays_on_device`"),
        ({"classes": {"tractor": {}}}, "fleets.x.policy.classes.tractor: the fleet has no such class"),
        ({"deadline_ms": -1}, "fleets.x.policy.deadline_ms: "),
        ({"network": {"levels": []}}, "fleets.x.policy.network.levels: "),
    ],
)
def test_a_policy_that_cannot_be_is_one_problem_with_its_place(tmp_path: Path, changes: dict[str, object], wanted: str) -> None:
    (found,) = said(written(tmp_path, **changes))
    assert found.startswith(wanted)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    args = written(tmp_path).model_copy(update={"policy": str(tmp_path / "none.yaml")})
    (found,) = said(args)
    assert found.startswith("fleets.x.policy: ")


def test_what_the_solver_refuses_is_said_at_the_argument(tmp_path: Path) -> None:
    both = {
        "transition": [[1, 0], [0, 1]],
        "levels": [{"name": "a", "until": 2, "requests_per_second": 1}, {"name": "b", "requests_per_second": 3}],
    }
    policy, problems = read_policy(written(tmp_path, classes=None, load=both), FLEET, "fleets.x")
    assert problems == []
    with pytest.raises(InputError, match=r"fleets\.x\.policy: "):
        route_plans(policy, {"*": declaring.release(tmp_path)})


GROUPED = FleetSettings.model_validate(
    {
        "name": "cameras",
        "classes": {"camera": {}, "gateway": {}},
        "devices": [{"name": "a", "class": "camera"}, {"name": "b", "class": "gateway"}, {"name": "c", "class": "camera"}],
        "groups": {"yard": ["a", "b"]},
    }
)


@pytest.mark.parametrize(
    ("data", "groups", "places"),
    [
        ("may_leave_device", {"yard": ("a", "b")}, ("device", "cloud", "peer:gateway")),
        ("may_leave_device", {"yard": ("a", "c")}, ("device", "cloud")),
        ("may_leave_device", {}, ("device", "cloud")),
        (None, {"yard": ("a", "b")}, ("device", "cloud")),
    ],
)
def test_peers_are_places_where_a_group_has_a_device_of_their_class_and_inputs_may_go_there(tmp_path, data, groups, places) -> None:
    fleet = GROUPED.model_copy(update={"groups": groups})
    policy, problems = read_policy(written(tmp_path, classes=None, given={"data": data}), fleet, "fleets.x")
    assert problems == []
    found = route_plans(policy, {"camera": declaring.release(tmp_path)})
    assert from_json(found["camera"].text.encode(), declaring.release(tmp_path).digest).places == places


def test_in_the_group_alone_a_policy_needs_peers_and_may_have_no_cloud(tmp_path) -> None:
    inside = {"data": "stays_in_group", "fallback_url": None}
    args = written(tmp_path, classes=None, cloud=None, data="stays_in_group", given=inside)
    policy, problems = read_policy(args, GROUPED, "fleets.x")
    assert problems == []
    found = route_plans(policy, {"camera": declaring.release(tmp_path)})["camera"]
    assert found.solved.shares.keys() == {"device", "peer:gateway"}
    assert [str(it).partition(";")[0] for it in read_policy(args, FLEET, "fleets.x")[1]] == [
        "fleets.x.policy: has no `cloud`, and devices reach no other place"
    ]
    (both,) = read_policy(written(tmp_path, classes=None, given=inside), GROUPED, "fleets.x")[1]
    assert str(both).startswith("fleets.x.policy.cloud: contradicts `data: stays_in_group`")
