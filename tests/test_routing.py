"""From a policy file and releases to the policies that travel with them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests import declaring

from isthmus import routing
from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.arguments.policy_file import PolicySettings
from isthmus.errors import InputError
from isthmus.migration.learning.relearning import documents
from isthmus.migration.policy_file import frame
from isthmus.platforms.rosters import told_counts
from isthmus.platforms.rules import with_platforms
from isthmus.repository.counts import Counted
from isthmus.routing import Counts, read_counts, read_policy, route_plans
from isthmus_agent.formats.experience import Experience, Row, meaning_of
from isthmus_agent.formats.policy import from_json

Settings = with_platforms(components.EdgeSettings)
EXAMPLE = Path(__file__).parents[1] / "policies" / "cameras.yaml"
FLEET = FleetSettings.model_validate({"name": "cameras", "classes": {"camera": {}, "camera-old": {"speed_factor": 2}}})


def written(folder: Path, **changes: object) -> components.EdgeSettings:
    """Arguments with the example's policy, changed. A change to None leaves the key out."""
    values = {**yaml.safe_load(EXAMPLE.read_text()), **changes}
    file = folder / "policy.yaml"
    file.write_text(json.dumps({name: it for name, it in values.items() if it is not None}))
    given = {"model": "models/digits", "fleet": "fleets/cameras.yaml", "fallback_url": "https://cloud", "policy": str(file)}
    return check(Settings, given, "fleets.x")


def said(args: components.EdgeSettings) -> list[str]:
    return [str(it) for it in read_policy(args, FLEET, "fleets.x")[1]]


def test_each_class_that_the_file_is_for_has_a_policy_for_its_release(tmp_path: Path) -> None:
    policy, problems = read_policy(written(tmp_path), FLEET, "fleets.x")
    assert problems == []
    release = declaring.release(tmp_path)
    found = route_plans(policy, {"camera": release, "camera-old": release, "*": release}, "fleets.x")
    assert list(found) == ["camera", "camera-old"]
    for name, plan in found.items():
        read = from_json(plan.text.encode(), release.digest)
        assert (read.device_class, read.places) == (name, ("device", "cloud"))  # peers are not reached from a server
        assert plan.solved.gain("never") > 0
        assert plan.solved.gain("always cloud") > 0
    assert found["camera"].text != found["camera-old"].text


def test_a_file_without_classes_is_for_all(tmp_path: Path) -> None:
    release = declaring.release(tmp_path)
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    found = route_plans(policy, {"camera": release, "*": release}, "fleets.x")
    assert {name: json.loads(it.text)["class"] for name, it in found.items()} == {"camera": "camera", "*": "*"}


def test_what_a_policy_brings_is_said_in_short_and_as_data(tmp_path: Path) -> None:
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    (found,) = route_plans(policy, {"*": declaring.release(tmp_path)}, "fleets.x").values()
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
        route_plans(policy, {"*": declaring.release(tmp_path)}, "fleets.x")


def counting(name: str, **changes: object) -> bytes:
    """What a device has told that saw the network go to its last level, wherever it was."""
    values = yaml.safe_load(EXAMPLE.read_text()) | changes
    situation = check(PolicySettings, {key: it for key, it in values.items() if it is not None}, "file").situation()
    its = frame(name, replace(situation, peers=None))
    cells = math.prod(len(it.levels) for it in its.dimensions)
    rows = {(0, cell): Row(0, {cells - 1: 100}) for cell in range(cells)}
    return Experience(meaning_of(its), name, len(its.places), cells, rows).written()


def test_what_devices_have_told_makes_the_policy_that_is_signed_and_is_said(tmp_path: Path) -> None:
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    release = declaring.release(tmp_path)
    told = documents({f"camera-{it}": counting("*", classes=None) for it in range(4)})
    (planned,), (found,) = (route_plans(policy, {"*": release}, "fleets.x", it).values() for it in (None, told))
    assert found.learned is not None
    assert (found.learned.devices, planned.learned) == (4, None)
    assert found.text != planned.text
    assert meaning_of(from_json(found.text.encode(), release.digest)) == meaning_of(from_json(planned.text.encode(), release.digest))
    assert "looks of 4 devices" in found.explain()
    assert json.loads(json.dumps(found.output(), allow_nan=False))["learned"]["devices"] == 4
    assert "learned" not in planned.output()
    (again,) = route_plans(policy, {"*": release}, "fleets.x", told).values()
    assert again.text == found.text


def test_where_devices_have_told_nothing_of_these_cells_the_policy_is_the_planned_one(tmp_path: Path) -> None:
    policy, _ = read_policy(written(tmp_path, classes=None), FLEET, "fleets.x")
    release = declaring.release(tmp_path)
    (planned,), (found,) = (
        route_plans(policy, {"*": release}, "fleets.x", it).values() for it in (None, documents({"a": counting("*", step_seconds=11)}))
    )
    assert found.text == planned.text
    assert "devices have told nothing of these cells yet" in found.explain()
    assert "1 device counted other cells" in found.explain()


def test_counts_are_read_where_the_rollout_asks_for_them_and_without_a_store_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = written(tmp_path)
    asks = silent.model_copy(update={"share_counts": True})
    monkeypatch.setattr(routing, "told_counts", lambda fleet, place: (None, "the store is not known yet"))
    assert read_counts(silent, "cameras", None) == Counts()
    found = read_counts(asks, "cameras", None)
    assert found.documents is None
    assert found.warning == (
        "what devices have counted could not be read (the store is not known yet), so the policy file's own figures hold"
    )
    counted = Counted({"a": counting("*")}, {"b": "this device has not written it"}, 3)
    monkeypatch.setattr(routing, "told_counts", lambda fleet, place: (counted, ""))
    found = read_counts(asks, "cameras", {})
    assert found.documents is not None
    assert list(found.documents.by_device) == ["a"]
    assert found.warning == (
        "1 of 2 devices' counts could not be read, and are left out: b: this device has not written it; "
        "3 devices beyond the first 2,000 were not asked"
    )


def test_a_store_that_cannot_be_reached_is_said_in_one_line(tmp_path: Path) -> None:
    store = {"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "access_key": "a", "secret_key": "b"}
    found, why = told_counts("cameras", {"store": store, "bucket": "b", "prefix": "", "keys": str(tmp_path)})
    assert (found, "\n" in why) == (None, False)
    assert why
    assert told_counts("cameras", None) == (None, "the store is not known yet")
