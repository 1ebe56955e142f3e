"""A fleet file: classes of devices, and the devices that a stack runs."""

import pytest

from isthmus.arguments.fleet_file import FleetSettings, load_fleet
from isthmus.errors import InputError
from isthmus.tflite.operators import BUILTIN
from isthmus_agent.formats.roster import Device

CLASSES = """
classes:
  small: {memory_megabytes: 60, storage_megabytes: 200, architecture: arm64, operators: [CONV_2D, SOFTMAX], speed_factor: 8}
  large: {operators: builtin}
"""


def fleet(tmp_path, text: str) -> FleetSettings:
    (tmp_path / "fleet.yaml").write_text(text)
    return load_fleet("fleet.yaml", tmp_path, "fleets.x.fleet")


def problems(tmp_path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        fleet(tmp_path, text)
    return [str(problem).removeprefix("fleets.x.fleet") for problem in caught.value.problems]


@pytest.mark.parametrize("text", ["name: cams", "name: cams\ndevices: []"])
def test_a_fleet_may_have_no_devices_that_the_stack_runs(tmp_path, text):
    assert fleet(tmp_path, text).roster() == []


def test_devices_have_a_class_and_labels(tmp_path):
    found = fleet(tmp_path, f"name: cams\n{CLASSES}\ndevices: [{{name: a, class: small, labels: {{site: x, group: lab}}}}, {{name: b}}]")
    assert found.roster() == [Device("a", "small", {"group": "lab", "site": "x"}), Device("b", "*")]


def test_a_class_says_what_its_devices_have(tmp_path):
    classes = fleet(tmp_path, f"name: cams\n{CLASSES}").classes
    assert (classes["small"].memory_megabytes, classes["small"].speed_factor, classes["small"].architecture) == (60, 8, "arm64")
    assert (classes["small"].operators, classes["large"].operators) == (("CONV_2D", "SOFTMAX"), BUILTIN)
    assert classes["large"].memory_megabytes is None


def test_the_devices_of_no_named_class_may_be_described_too(tmp_path):
    assert fleet(tmp_path, 'name: cams\nclasses: {"*": {memory_megabytes: 9}}').classes["*"].memory_megabytes == 9


@pytest.mark.parametrize("name", ["Cams", "a_b", "roster", "targets", "3", "a" * 64, "[a]"])
def test_a_fleet_has_no_name_that_its_repository_would_refuse(tmp_path, name):
    (found,) = problems(tmp_path, f"name: {name}")
    assert found.startswith(".name: ")
    assert "cannot be a fleet's name; expected small letters, digits and -" in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: {small: {memory_megabytes: 0}}", ".classes.small.memory_megabytes: found 0; expected 1 to"),
        ("classes: {small: {memory_mb: 9}}", ".classes.small.memory_mb: no such argument. Fix: did you mean 'memory_megabytes'?"),
        (
            "classes: {small: {architecture: arm}}",
            ".classes.small.architecture: unknown architecture 'arm'; expected x86_64 or arm64. Fix: did",
        ),
        ("classes: {small: {speed_factor: 0}}", ".classes.small.speed_factor: found 0; expected more than 0"),
        (
            "classes: {small: {operators: [CONV2D]}}",
            ".classes.small.operators[0]: unknown operator 'CONV2D'; expected TensorFlow Lite's own name of one, such as CONV_2D. "
            "Fix: did you mean 'CONV_2D'?",
        ),
        ("classes: {small: {operators: all}}", ".classes.small.operators: found 'all'; expected"),
        ("devices: [{name: a, class: small}]", ".devices[0].class: the fleet has no class 'small'; expected nothing, for a fleet without"),
        ("classes: {large: {}}\ndevices: [{name: a, class: lrge}]", ".devices[0].class: the fleet has no class 'lrge'; expected 'large'"),
        ("devices: [{name: a, clas: b}]", ".devices[0].clas: no such argument. Fix: did you mean 'class'?"),
        ("devices: [{name: a, labels: {site: 3}}]", ".devices[0].labels: site: found 3; expected a label's value"),
        ("classes: {'a b': {}}", '.classes["a b"]'),
        ("devices: [{name: a}]\ngroups: {yard: [b]}", ".groups.yard[0]: the stack runs no device 'b'; expected a device of `devices`"),
        ("devices: [{name: a}]\ngroups: {yard: [a, a]}", ".groups.yard[1]: 'a' is in the group yard already; expected one group"),
        ("devices: [{name: a}]\ngroups: {yard: [a], hall: [a]}", ".groups.hall[0]: 'a' is in the group yard already"),
        ("groups: {yard: []}", ".groups.yard: "),
        ("groups: {'a/b': [a]}", '.groups["a/b"]'),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, said):
    found = problems(tmp_path, f"name: cams\n{text}")
    assert len(found) == 1, found
    assert found[0].startswith(said)


GROUPS = """
classes: {small: {}, large: {}}
devices: [{name: a, class: small}, {name: b, class: large}, {name: c, class: large}, {name: d, class: small}, {name: e}]
groups: {yard: [a, b], hall: [c], porch: [d, e]}
"""


def test_a_device_works_in_one_group_or_alone(tmp_path):
    found = fleet(tmp_path, f"name: cams\n{GROUPS}")
    assert [found.group_of(it) for it in ("a", "c", "f")] == ["yard", "hall", None]


@pytest.mark.parametrize(
    ("device_class", "peers"),
    [("small", {"large", "*"}), ("large", {"small", "*"}), ("*", {"small", "large", "*"}), ("other", set())],
)
def test_peers_of_a_class_are_those_that_some_device_of_it_has_beside_itself(tmp_path, device_class, peers):
    assert fleet(tmp_path, f"name: cams\n{GROUPS}").peer_classes(device_class) == peers
