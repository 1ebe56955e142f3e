"""From a file of views and releases to the groups that travel with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import declaring

from isthmus import grouping
from isthmus.arguments import components
from isthmus.arguments.checking import check
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.errors import InputError
from isthmus.grouping import SeenExamples, group_plans, read_group
from isthmus.platforms.rules import with_platforms
from isthmus_agent.formats import bundle

Settings = with_platforms(components.EdgeSettings)
FLEET = FleetSettings.model_validate(
    {
        "name": "cameras",
        "devices": [{"name": "a", "labels": {"view": "near"}}, {"name": "b", "labels": {"view": "far"}}, {"name": "c"}],
        "groups": {"yard": ["a", "b"]},
    }
)
COUNT, CLASSES = 200, 3
LABELS = np.arange(COUNT) % CLASSES


def told(seed: int, strength: float = 2.0) -> Any:
    """Probabilities [examples, classes] of a member that is as good as that."""
    logits = np.random.default_rng(seed).normal(size=(COUNT, CLASSES))
    logits[np.arange(COUNT), LABELS] += strength
    shares = np.exp(strength * logits)
    return shares / shares.sum(axis=1, keepdims=True)


def arguments(file: Path | None = None, **fusion: object) -> components.EdgeSettings:
    given: dict[str, Any] = {"model": "models/digits", "fleet": "fleets/cameras.yaml"}
    return check(Settings, {**given, "fusion": {"views": str(file), **fusion}} if file else given, "fleets.x")


def written(folder: Path, **arrays: Any) -> Path:
    file = folder / "views.npz"
    np.savez(file, **arrays)
    return file


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """What the release answers to each view is what the file has; yields how often it was asked."""
    asked = []

    def edge_answers(release: Any, arrays: Any, *_: object) -> Any:
        asked.append(release.digest)
        return arrays

    monkeypatch.setattr(grouping, "edge_answers", edge_answers)
    monkeypatch.setattr(grouping, "default_cache_directory", lambda: tmp_path / "cache")
    return asked


def test_a_group_is_learned_for_the_release_and_its_worth_stands_beside_the_best_members(tmp_path, answers):
    args = arguments(written(tmp_path, near=told(1), far=told(2), labels=LABELS), wait_ms=70)
    seen, problems = read_group(args, FLEET, "fleets.x")
    assert problems == []
    release = declaring.release(tmp_path)
    found = group_plans(args, seen, {"small": release, "*": release}, "fleets.x")
    assert list(found) == ["small", "*"]
    plan = found["*"]
    assert bundle.signed_group(plan.signed, release.digest) == bundle.SignedGroup(plan.group, 70)
    assert [it.name for it in plan.group.members] == ["far", "near"]
    gain, loss, members, _ = plan.explain().splitlines()
    assert gain.split("; its best member, ")[0].endswith(" right")
    assert f"{100 * plan.figures.gain.value:.2f} ({100 * plan.figures.gain.low:.2f} to " in gain
    assert "on 200 examples that it was not learned from" in gain
    assert loss.startswith("  it loses ")
    assert members.startswith("  members: far ")
    output = json.loads(json.dumps(plan.output(), allow_nan=False))
    assert output["accuracy"]["value"] - output["best"]["value"] == pytest.approx(output["gain"]["value"])
    assert (output["digest"], output["members"]) == (plan.group.digest, ["far", "near"])


def test_what_was_learned_is_not_learned_again_but_of_another_release_or_file(tmp_path, answers):
    args = arguments(written(tmp_path, near=told(1), far=told(2), labels=LABELS))
    seen, _ = read_group(args, FLEET, "fleets.x")
    release, other = declaring.release(tmp_path), declaring.release(tmp_path, version=2)
    first = group_plans(args, seen, {"*": release}, "fleets.x")["*"]
    again = group_plans(args, seen, {"*": release}, "fleets.x")["*"]
    assert (again.group, again.figures) == (first.group, first.figures)
    assert answers == [release.digest]
    group_plans(args, seen, {"*": other}, "fleets.x")
    group_plans(args, SeenExamples(seen.arrays, seen.labels, "another"), {"*": release}, "fleets.x")
    for file in (tmp_path / "cache" / "groups").iterdir():
        file.write_bytes(b"damaged")
    group_plans(args, seen, {"*": release}, "fleets.x")
    assert answers == [release.digest, other.digest, release.digest, release.digest]


def test_what_groups_are_worth_is_said_once_a_release_and_that_several_never_answer_together(tmp_path, answers):
    args = arguments(written(tmp_path, near=told(1), far=told(2), labels=LABELS))
    seen, _ = read_group(args, FLEET, "fleets.x")
    release, other = declaring.release(tmp_path), declaring.release(tmp_path, version=2)
    for releases, said in (({"small": release, "*": release}, 1), ({"small": release, "*": other}, 2)):
        infos, warnings = [], []
        grouping.tell(group_plans(args, seen, releases, "fleets.x"), infos.append, warnings.append)
        assert [it.partition(":")[0] for it in infos] == (["together (small, *)"] if said == 1 else ["together (small)", "together (*)"])
        assert len(warnings) == said - 1


def test_a_device_that_stands_for_a_view_and_is_in_no_group_is_a_problem(tmp_path):
    alone = FLEET.model_copy(update={"groups": {"yard": ("a",)}})
    [problem] = read_group(arguments(written(tmp_path, **GOOD)), alone, "fleets.x")[1]
    assert str(problem).startswith("fleets.x.fleet.devices[1].labels.view: b is in no group, where others would hear it")


def test_without_views_nobody_answers_together(tmp_path):
    assert read_group(arguments(), FLEET, "fleets.x") == (None, [])
    assert group_plans(arguments(), None, {"*": declaring.release(tmp_path)}, "fleets.x") == {}


GOOD = {"near": told(1), "far": told(2), "labels": LABELS}


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ({"near": told(1), "labels": LABELS}, "fleets.x.fusion.views: has one view, near: a group of one answers as its member does"),
        ({"near": told(1), "far": told(2)}, "has no array `labels`"),
        ({**GOOD, "far": told(2)[:-1]}, "fleets.x.fusion.views: views do not match: examples of each are near 200, far 199, labels 200"),
        ({**GOOD, "a b": told(3)}, "fleets.x.fusion.views: a member cannot be called so"),
        ({f"v{place}": told(1) for place in range(17)} | {"labels": LABELS}, "fleets.x.fusion.views: has 17 members"),
        ({"north": told(1), "south": told(2), "labels": LABELS}, "fleets.x.fleet.devices[0].labels.view: 'near' is no view of"),
    ],
)
def test_views_that_are_none_are_problems_with_their_place(tmp_path, arrays, wanted):
    said = [str(it) for it in read_group(arguments(written(tmp_path, **arrays)), FLEET, "fleets.x")[1]]
    assert any(wanted in it for it in said), said


def test_a_file_that_is_none_is_one_problem(tmp_path):
    missing = tmp_path / "none.npz"
    [problem] = read_group(arguments(missing), FLEET, "fleets.x")[1]
    assert str(problem).startswith(f"fleets.x.fusion.views: '{missing}' cannot be read: No such file")
    missing.write_bytes(b"PK\x03\x04 damaged")
    [problem] = read_group(arguments(missing), FLEET, "fleets.x")[1]
    assert "cannot be read" in str(problem)


def test_a_fleet_of_which_no_device_stands_for_a_view_is_a_problem_and_one_elsewhere_is_not(tmp_path):
    args = arguments(written(tmp_path, **GOOD))
    blind = FleetSettings.model_validate({"name": "cameras", "devices": [{"name": "a"}]})
    [problem] = read_group(args, blind, "fleets.x")[1]
    assert str(problem).startswith("fleets.x.fusion.views: no device of fleets/cameras.yaml stands for one of its views")
    assert read_group(args, FleetSettings.model_validate({"name": "cameras"}), "fleets.x")[1] == []


@pytest.mark.parametrize(("arrays", "wanted"), [({"far": told(2)[:, :2]}, "fleets.x.fusion.views"), ({"far": 3 * told(2)}, "far")])
def test_answers_that_do_not_match_fail_the_preview_with_their_place(tmp_path, answers, arrays, wanted):
    args = arguments(written(tmp_path, **{**GOOD, **arrays}))
    seen, problems = read_group(args, FLEET, "fleets.x")
    assert problems == []
    with pytest.raises(InputError, match=r"fleets\.x\.fusion\.views") as caught:
        group_plans(args, seen, {"*": declaring.release(tmp_path)}, "fleets.x")
    assert wanted in str(caught.value)


def test_views_of_another_input_than_the_models_fail_the_preview_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(grouping, "default_cache_directory", lambda: tmp_path / "cache")
    args = arguments(written(tmp_path, **GOOD))
    seen, _ = read_group(args, FLEET, "fleets.x")
    with pytest.raises(InputError, match=r"fleets\.x\.model: the model has 0 inputs"):
        group_plans(args, seen, {"*": declaring.release(tmp_path)}, "fleets.x")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"data": "stays_on_device"}, "fleets.x.fusion: tells the group what devices answer, and `data` says stays_on_device"),
        ({"data": "stays_on_device", "evidence": "may_leave_device"}, None),
        ({}, None),
        ({"evidence": "stays_on_device"}, "fleets.x.fusion.evidence: devices that tell each other nothing"),
        ({"evidence": "maybe"}, "fleets.x.fusion.evidence: unknown choice 'maybe'"),
        ({"wait_ms": 0}, "fleets.x.fusion.wait_ms: "),
        ({"clip_nats": float("nan")}, "fleets.x.fusion.clip_nats: "),
        ({"view": 1}, "fleets.x.fusion.view: "),
    ],
)
def test_evidence_leaves_a_device_only_by_a_word_of_the_programs(said, wanted):
    data = {"data": said["data"]} if "data" in said else {}
    fusion = {"views": "v.npz", **{name: it for name, it in said.items() if name != "data"}}
    given = {"model": "models/digits", "fleet": "fleets/cameras.yaml", "fusion": fusion, **data}
    if wanted is None:
        assert check(Settings, given, "fleets.x").fusion
        return
    with pytest.raises(InputError) as caught:
        check(Settings, given, "fleets.x")
    assert [str(it) for it in caught.value.problems if str(it).startswith(wanted)], caught.value
