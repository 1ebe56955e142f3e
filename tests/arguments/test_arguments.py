from pathlib import Path

import pytest

from isthmus.arguments import components
from isthmus.arguments.checking import check, problems_of
from isthmus.arguments.fleet_file import load_fleet
from isthmus.errors import InputError
from isthmus.platforms.rules import with_platforms

CloudSettings = with_platforms(components.CloudSettings)
EdgeSettings = with_platforms(components.EdgeSettings)
HybridSettings = with_platforms(components.HybridSettings)

GOOD = {"model": "models/digits", "requests_per_second": 200, "p95_ms": 50}


def messages(model, raw):
    return [str(problem) for problem in problems_of(model, raw, "services.digits")[1]]


def test_good_arguments_come_back_with_every_default():
    checked = check(CloudSettings, GOOD, "services.digits")
    assert (checked.recipe, checked.platform, checked.balancing, checked.version) == ("int8", "local", "least_request", 1)


def test_whole_numbers_may_arrive_as_floats():
    assert check(CloudSettings, {**GOOD, "version": 2.0, "min_replicas": 3.0}, "x").version == 2


def test_two_wrong_arguments_are_both_named():
    found = messages(CloudSettings, {**GOOD, "p95_ms": -1, "balancing": "least_requests"})
    assert any(m.startswith("services.digits.p95_ms: found -1; expected more than 0") for m in found)
    assert any("unknown balancing policy 'least_requests'" in m and "did you mean 'least_request'" in m for m in found)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        ({"platform": "nomad"}, "platform", "unknown platform 'nomad'; expected local"),
        ({"recipe": "int9"}, "recipe", "unknown recipe 'int9'"),
        ({"requests_per_second": -5}, "requests_per_second", "found -5; expected more than 0"),
        ({"requests_per_second": float("nan")}, "requests_per_second", "expected a finite number"),
        ({"p95_ms": float("inf")}, "p95_ms", "expected a finite number"),
        ({"min_accuracy": 97}, "min_accuracy", "expected 0 to 1"),
        ({"version": 0}, "version", "expected 1 to 2,147,483,647"),
        ({"version": 1.5}, "version", "found 1.5"),
        ({"recip": "int8"}, "recip", "did you mean 'recipe'?"),
        ({"local": {"port": 70000}}, "local.port", "found 70000"),
        ({"local": {"port": 8501, "grpc_port": 8501}}, "local.grpc_port", "two different ports"),
        ({"min_replicas": 5, "max_replicas": 2}, "min_replicas", "5 is above max_replicas (2)"),
        ({"model": 3}, "model", "found 3"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(change, where, said):
    found = messages(CloudSettings, {**GOOD, **change})
    assert len(found) == 1
    assert found[0].startswith(f"services.digits.{where}: ")
    assert said in found[0]


@pytest.mark.parametrize(
    ("recipe", "text"),
    [("prune + int8", "prune:80%+int8"), (["prune:80%", "int8"], "prune:80%+int8"), ("auto", "auto:smallest"), (("int4",), "int4")],
)
def test_a_recipe_is_a_text_or_a_list_of_steps_and_becomes_its_canonical_text(recipe, text):
    assert check(EdgeSettings, {"model": "m", "fleet": "f.yaml", "recipe": recipe}, "x").recipe == text


def test_everything_that_is_wrong_with_a_recipe_is_said_with_its_place():
    found = messages(CloudSettings, {**GOOD, "recipe": ["prune:0%", "int9"], "version": 0})
    assert [message.split(": ")[0] for message in found] == [f"services.digits.{place}" for place in ("recipe[0]", "recipe[1]", "version")]


def test_a_missing_argument_is_named():
    assert messages(CloudSettings, {"model": "m", "p95_ms": 5}) == [
        "services.digits.requests_per_second: is missing; expected a value. Fix: add it"
    ]


def test_arguments_that_are_no_mapping_are_refused():
    assert "expected a mapping" in messages(HybridSettings, ["model"])[0]


def test_a_confidence_without_anybody_to_ask_is_refused():
    assert "nobody to ask" in messages(EdgeSettings, {"model": "m", "fleet": "f.yaml", "min_confidence": 0.5})[0]


@pytest.mark.parametrize(("given", "expected"), [("auto", "auto"), (0.8, 0.8), (1, 1.0), ("0.5", 0.5), (None, None)])
def test_a_confidence_is_a_number_or_auto(given, expected):
    raw = {"model": "m", "fleet": "f.yaml", "fallback_url": "http://c", "min_confidence": given}
    assert check(EdgeSettings, raw, "services.digits").min_confidence == expected


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("Auto", "found 'Auto'"),
        ("", "found ''"),
        (1.5, "found 1.5"),
        (-1.0, "found -1.0"),
        (True, "found True"),
        ("nan", "found 'nan'"),
        (float("inf"), "found inf"),
        ([0.5], "found list"),
        (10**400, "found int"),
    ],
)
def test_a_confidence_that_is_neither_is_refused_with_what_it_may_be(given, found):
    (said,) = messages(EdgeSettings, {"model": "m", "fleet": "f.yaml", "fallback_url": "http://c", "min_confidence": given})
    assert said.startswith(f"services.digits.min_confidence: {found}; expected 0 to 1, or auto")


def test_a_bound_on_errors_is_for_auto_alone():
    found = messages(EdgeSettings, {"model": "m", "fleet": "f", "fallback_url": "c", "min_confidence": 0.5, "max_device_error": 0.1})
    assert found == [
        "services.digits.max_device_error: nothing is chosen by it; expected `min_confidence: auto` beside it. "
        "Fix: say `min_confidence: auto`, or remove it"
    ]


def test_a_policy_of_when_to_ask_is_for_devices_that_may():
    raw = {"model": "m", "fleet": "f.yaml", "policy": "p.yaml"}
    (said,) = messages(EdgeSettings, raw)
    assert said.startswith("services.digits.policy: it is about when the cloud role is asked, and devices ask nobody")
    assert messages(EdgeSettings, {**raw, "fallback_url": "http://c"}) == []
    assert messages(EdgeSettings, {**raw, "policy": "", "fallback_url": "http://c"})[0].startswith("services.digits.policy: ")


def test_a_deadline_where_nobody_is_asked_is_refused():
    found = messages(EdgeSettings, {"model": "m", "fleet": "f.yaml", "deadline_ms": 50})
    assert found == [
        "services.digits.deadline_ms: devices ask nobody, and answer as soon as they can; expected fallback_url beside it. "
        "Fix: remove it, or let them ask the cloud role"
    ]


def test_a_wrong_store_never_shows_its_secret():
    found = messages(
        EdgeSettings, {"model": "m", "fleet": "f", "store": {"endpoint": "http://s", "secret_key": "hunter2", "acces_key": "k"}}
    )
    assert len(found) == 2
    assert "hunter2" not in " ".join(found)


def fleet_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "fleet.yaml").write_text(text)
    return tmp_path


def test_a_fleet_file_gives_its_devices(tmp_path):
    fleet = load_fleet("fleet.yaml", fleet_file(tmp_path, "name: cams\ndevices: [{name: a}, {name: b, port: 9000}]"), "fleets.x.fleet")
    assert [(device.name, device.port) for device in fleet.devices] == [("a", 0), ("b", 9000)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: cams\ndevices: [{name: a}, {name: a}]", "two devices are named 'a'"),
        ("name: 'a b'\ndevices: [{name: a}]", "'a b' cannot be a fleet's name"),
        ("name: [", "is not YAML (line 1)"),
        ("name: 2026-13-45", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_wrong_fleet_file_is_explained(tmp_path, text, said):
    with pytest.raises(InputError) as caught:
        load_fleet("fleet.yaml", fleet_file(tmp_path, text), "fleets.x.fleet")
    assert said in str(caught.value)
    assert str(caught.value).startswith("fleets.x.fleet")


def test_a_missing_fleet_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read fleet file 'gone\.yaml': No such file"):
        load_fleet("gone.yaml", tmp_path, "fleets.x.fleet")


def test_a_recipe_for_servers_alone_is_refused_where_there_are_devices_and_taken_where_there_are_none():
    for platform in ("local", "docker", "kubernetes"):
        found = messages(CloudSettings, {**GOOD, "recipe": "serving-only", "platform": platform})
        assert not [message for message in found if "recipe" in message]
    assert messages(EdgeSettings, {"model": "m", "fleet": "f.yaml", "recipe": "serving-only"}) == [
        "services.digits.recipe: serving-only makes nothing that devices can run; expected a recipe with an edge variant, such as int8. "
        "Fix: name another recipe, or use CloudModelService"
    ]
