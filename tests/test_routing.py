"""From a policy file and releases to the policies that travel with them."""

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests import declaring
from tests.offload.test_plan import MEASURED

from isthmus import routing
from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.errors import InputError
from isthmus.migration import together
from isthmus.migration.situation import Answers, ThenCloud
from isthmus.offload.plan import Costs, plan_offload
from isthmus.platforms.rules import with_platforms
from isthmus.routing import Policies, answers_of, asking, deadline_of, read_policy, route_plans, spread
from isthmus.sizing.offload import Asking, Offload
from isthmus_agent.formats.policy import from_json

Settings = with_platforms(components.EdgeSettings)
EXAMPLE = Path(__file__).parents[1] / "policies" / "cameras.yaml"
CLOUD = {"service_ms": 9, "p95_ms": 22, "error_percent": 0}
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


def answering(folder: Path, threshold: object = "auto", **changes: object) -> Policies:
    """The example's policy, in which a wrong answer has a price."""
    worth = {**yaml.safe_load(EXAMPLE.read_text())["worth"], "wrong_answer_ms": 800}
    args = written(folder, worth=worth, **changes).model_copy(update={"min_confidence": threshold})
    policies, problems = read_policy(args, FLEET, "fleets.x")
    assert problems == []
    assert policies is not None
    return policies


def test_what_a_wrong_answer_costs_comes_from_the_release_and_its_threshold(tmp_path: Path) -> None:
    release = declaring.release(tmp_path, confidences=MEASURED)
    assert release.manifest.calibration is not None
    plan = plan_offload(release.manifest.calibration, MEASURED, Costs(0.0))
    assert plan is not None
    (found,) = route_plans(answering(tmp_path), {"camera": release}, offload={"camera": plan}, timeout_ms=400).values()
    situation, row = found.solved.built.situation, plan.rows[plan.chosen]
    groups = MEASURED.groups
    examples, edge = sum(it.examples for it in groups), sum(it.both + it.edge for it in groups)
    serving = sum(it.both + it.serving for it in groups)
    rates = {name: it.error_rate for name, it in situation.places.items()}
    assert rates == pytest.approx({"device": 1 - edge / examples, "device_then_cloud": 1 - row.accuracy, "cloud": 1 - serving / examples})
    assert situation.then_cloud == ThenCloud(row.share, 1 - row.accuracy, 400)
    assert json.loads(found.text)["places"] == ["device", "device_then_cloud", "cloud"]
    said = found.explain()
    assert "less than when unsure" in said
    assert "wrong answers, each worth 800 ms: device " in said


def test_without_a_threshold_there_is_no_place_that_passes_on(tmp_path: Path) -> None:
    release = declaring.release(tmp_path, confidences=MEASURED)
    (found,) = route_plans(answering(tmp_path, threshold=None), {"camera": release}).values()
    assert json.loads(found.text)["places"] == ["device", "cloud"]
    assert found.solved.built.situation.device.error_rate > 0


def test_a_price_and_a_release_that_nobody_counted_is_said_at_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        route_plans(answering(tmp_path), {"camera": declaring.release(tmp_path)})
    first, second = map(str, raised.value.problems)
    assert first.startswith("fleets.x.policy: device.error_percent: is neither given nor measured")
    assert second.startswith("fleets.x.policy: cloud.error_percent: ")


def test_a_policy_is_solved_once_however_often_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies, solve = answering(tmp_path, threshold=None), routing.solved
    asked: list[str] = []
    monkeypatch.setattr(together, "MOST_ROWS", 20_000)
    monkeypatch.setattr(routing, "solved", lambda name, *more: asked.append(name) or solve(name, *more))
    release = declaring.release(tmp_path, confidences=MEASURED)
    route_plans(policies, {"camera": release, "camera-old": release})
    sized = asking(policies, {"camera": 3, "camera-old": 1}, answers_of(release, None, math.inf), 0.0, Offload(40))
    assert asked == ["camera", "camera-old"]
    assert 0 < sized.share <= 1
    assert sized.quantile_devices is not None
    assert sized.quantile_devices >= 40 * sized.share


def test_devices_of_no_class_of_the_file_pass_on_what_they_are_unsure_of(tmp_path: Path) -> None:
    policies = answering(tmp_path, device={"service_ms": 1, "p95_ms": 1, "error_percent": 0}, cloud=CLOUD)
    measured = Answers(0.0, 0.0)
    found = asking(policies, {"*": 4}, measured, 0.25, Offload(100, correlation=0.0))
    assert found.share == 0.25
    assert found.quantile_devices == pytest.approx(36, abs=1)  # of the binomial distribution
    assert asking(policies, {"*": 4}, measured, 0.25, Offload()) == Asking(0.25)


@given(st.integers(0, 10_000), st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1))
def test_devices_are_spread_as_they_are_and_none_is_lost(devices: int, counts: dict[str, int]) -> None:
    found = spread(devices, counts)
    assert sum(found.values()) == devices
    assert all(abs(it - devices * counts[name] / sum(counts.values())) < 1 for name, it in found.items())


@pytest.mark.parametrize(("given_ms", "policy_ms", "wanted"), [(None, 150, 150), (150, 150, 150), (None, 33.7, 33), (None, 0.2, 1)])
def test_devices_keep_the_deadline_that_the_policy_is_solved_for(
    tmp_path: Path, given_ms: int | None, policy_ms: float, wanted: int
) -> None:
    args = written(tmp_path, deadline_ms=policy_ms).model_copy(update={"deadline_ms": given_ms})
    policies, problems = read_policy(args, FLEET, "fleets.x")
    assert problems == []
    assert policies is not None
    assert deadline_of(policies.settings) == wanted


def test_another_deadline_than_the_policys_is_one_problem(tmp_path: Path) -> None:
    args = written(tmp_path, deadline_ms=300).model_copy(update={"deadline_ms": 100})
    (found,) = said(args)
    assert found.startswith("fleets.x.deadline_ms: found 100, and the policy is solved for another deadline (300)")


def test_passing_on_that_no_device_does_is_one_problem(tmp_path: Path) -> None:
    worth = {"deadline_miss_ms": 400, "wrong_answer_ms": 800}
    (found,) = said(written(tmp_path, worth=worth, device_then_cloud={"unsure_percent": 5, "error_percent": 5}))
    assert found.startswith("fleets.x.policy.device_then_cloud: devices pass nothing on: there is no `min_confidence`")


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
