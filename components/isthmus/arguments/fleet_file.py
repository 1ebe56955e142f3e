"""A fleet file: a fleet's name, its classes of devices, and the devices that a stack runs on its own machine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from isthmus.arguments.checking import AnyPort, Checked, Limited, Name, check, one_of
from isthmus.arguments.formats import ARCHITECTURES, BYTES_PER_MEGABYTE, ClassName, Labels, SignedName
from isthmus.arguments.yaml_file import read_yaml
from isthmus.errors import Problem, property_path
from isthmus.limits import ANY_PORT, DEVICE_CLASS, FLEET_DEVICES, MOST_CLASSES
from isthmus.repository.objects import FLEET_NAMES, is_fleet_name
from isthmus.sizing.classes import DeviceClass
from isthmus.tflite.operators import BUILTIN
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.roster import Device


def _named_set(value: object) -> object:
    return _SETS.get(value, value) if isinstance(value, str) else value


_SETS: Final = {"builtin": BUILTIN}
Operator = Annotated[str, one_of(BUILTIN, "operator", "TensorFlow Lite's own name of one, such as CONV_2D")]
Operators = Annotated[tuple[Operator, ...], BeforeValidator(_named_set)]
"""A list of operators, or `builtin`: all of TensorFlow Lite's own."""


class ClassSettings(Checked):
    """What the devices of a class have. What is left out is not known, and nothing is checked by it."""

    memory_megabytes: Annotated[float, Limited(DEVICE_CLASS["memory_megabytes"])] | None = None
    storage_megabytes: Annotated[float, Limited(DEVICE_CLASS["storage_megabytes"])] | None = None
    architecture: Annotated[str, one_of(ARCHITECTURES, "architecture")] | None = None
    operators: Operators | None = None
    speed_factor: Annotated[float, Limited(DEVICE_CLASS["speed_factor"])] | None = None

    def pure(self, name: str) -> DeviceClass:
        """The class as `isthmus.sizing.classes` chooses for it."""
        memory, storage = (None if it is None else it * BYTES_PER_MEGABYTE for it in (self.memory_megabytes, self.storage_megabytes))
        operators = None if self.operators is None else frozenset(self.operators)
        return DeviceClass(name, memory, storage, self.architecture, operators, self.speed_factor)


class DeviceSettings(Checked):
    """One device that the stack runs on its machine. port: of its REST server on loopback; 0: any free one."""

    name: Name
    port: AnyPort = ANY_PORT.default
    device_class: ClassName = Field(ANY_CLASS, alias="class")
    labels: Labels = Field(default_factory=dict)

    def pure(self) -> Device:
        """The device as it will stand in the roster."""
        return Device(self.name, self.device_class, self.labels)


def _fleet_name(value: object) -> object:
    if not isinstance(value, str) or not is_fleet_name(value):
        raise ValueError(f"{value!r} cannot be a fleet's name; expected {FLEET_NAMES}")
    return value


class FleetSettings(Checked):
    """devices: those that the stack runs on its machine. None: a fleet of devices elsewhere, which come by enrolment. groups: of those that
    work together, by name: the devices' names."""

    name: Annotated[str, BeforeValidator(_fleet_name)]
    classes: Annotated[Mapping[ClassName, ClassSettings], Field(max_length=MOST_CLASSES)] = Field(default_factory=dict)
    devices: Annotated[tuple[DeviceSettings, ...], Field(max_length=int(FLEET_DEVICES.most))] = ()
    groups: Annotated[Mapping[SignedName, Annotated[tuple[Name, ...], Field(min_length=1)]], Field(max_length=int(FLEET_DEVICES.most))] = (
        Field(default_factory=dict)
    )

    def problems(self, path: str) -> Sequence[Problem]:
        names = [device.name for device in self.devices]
        return [
            *(
                Problem(f"{path}.devices", f"two devices are named {name!r}", "different names")
                for name in sorted({name for name in names if names.count(name) > 1})
            ),
            *(
                problem
                for index, device in enumerate(self.devices)
                for problem in self._of_class(device, property_path(["devices", index], path))
            ),
            *self._group_problems(path),
        ]

    def _group_problems(self, path: str) -> Iterator[Problem]:
        """Members that are no devices of this file, and those of two groups: a device has one broker, and one name there."""
        known, taken = {device.name for device in self.devices}, dict[str, str]()
        for group, members in self.groups.items():
            for index, name in enumerate(members):
                where = property_path(["groups", group, index], path)
                if name not in known:
                    what, fix = f"the stack runs no device {name!r}", "add it to `devices`; devices elsewhere name their group themselves"
                    yield Problem(where, what, "a device of `devices`", fix)
                elif name in taken:
                    yield Problem(where, f"{name!r} is in the group {taken[name]} already", "one group for each device", "leave one out")
                taken.setdefault(name, group)

    def group_of(self, device: str) -> str | None:
        """The group of a device; None: it works alone."""
        return next((group for group, members in self.groups.items() if device in members), None)

    def peer_classes(self, device_class: str) -> frozenset[str]:
        """Classes of devices that some device of a class has in its group, beside itself; with ANY_CLASS, where it has anybody."""
        classes = {device.name: device.device_class for device in self.devices}
        found = {
            classes[other]
            for members in self.groups.values()
            for name in members
            for other in members
            if other != name and device_class in (ANY_CLASS, classes[name])
        }
        return frozenset(found | ({ANY_CLASS} if found else set()))

    def _of_class(self, device: DeviceSettings, where: str) -> Iterator[Problem]:
        if device.device_class not in (ANY_CLASS, *self.classes):
            known = " or ".join(map(repr, self.classes)) or "nothing, for a fleet without `classes`"
            yield Problem(
                f"{where}.class", f"the fleet has no class {device.device_class!r}", known, "add it to `classes`, or name another"
            )

    def roster(self) -> Sequence[Device]:
        """The devices that the stack runs, as they will stand in the roster."""
        return [device.pure() for device in self.devices]


_EXPECTED: Final = "a YAML file with `name`, and with `devices` where the stack runs them"


def load_fleet(text: str, base_directory: Path, path: str) -> FleetSettings:
    """The fleet of a fleet file (YAML).

    Raises:
        InputError: no such file, not YAML, or wrong content; all problems at once.
    """
    return check(FleetSettings, read_yaml(text, base_directory, path, "fleet file", _EXPECTED), path)
