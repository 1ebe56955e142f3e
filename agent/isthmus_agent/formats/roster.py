"""The roster: the devices of a fleet, which are the denominator of every gate. Signed; devices themselves never fetch it.

It holds no key: a device's report key follows from the fleet's secret, its name and its generation (`report.device_key`).
Reading what was written gives the same value: `from_json(it.to_json()) == it`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.numbers import FormatError

FORMAT: Final = 1
MOST_DEVICES: Final = 1_000_000
MOST_DOCUMENT_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class Device:
    """One device. generation: of its keys; one higher revokes those before."""

    name: str
    device_class: str
    labels: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0

    def report_key(self, secret: bytes, fleet: str) -> bytes:
        """The key that its reports are signed with. secret: the fleet's."""
        return report.device_key(secret, fleet, self.name, self.generation)


@dataclass(frozen=True)
class Roster:
    """The devices in the order of their names."""

    fleet: str
    devices: tuple[Device, ...]

    def by_name(self) -> dict[str, Device]:
        """Each device by its name."""
        return {device.name: device for device in self.devices}

    def with_device(self, device: Device) -> "Roster":
        """The roster with this device, in place of one of the same name."""
        others = [it for it in self.devices if it.name != device.name]
        return Roster(self.fleet, tuple(sorted([*others, device], key=lambda it: it.name)))

    def without(self, name: str) -> "Roster":
        """The roster without a device."""
        return Roster(self.fleet, tuple(it for it in self.devices if it.name != name))

    def to_json(self) -> bytes:
        """The one way to write it."""
        return numbers.dump({"format": FORMAT, "fleet": self.fleet, "devices": [_value(it) for it in self.devices]})


def from_json(content: bytes) -> Roster:
    """The roster in a document. Raises FormatError for every content that is none, and nothing else."""
    found = numbers.fields(numbers.load(content, "the roster", MOST_DOCUMENT_BYTES), "", ("format", "fleet", "devices"))
    numbers.integer(found["format"], "format", FORMAT, FORMAT)
    listed = numbers.items(found["devices"], "devices", MOST_DEVICES)
    devices = tuple(_device(it, f"devices[{index}]") for index, it in enumerate(listed))
    names = [device.name for device in devices]
    if numbers.unique(names, "devices", "name") != sorted(names):
        raise FormatError("devices", "they are not in the order of their names")
    return Roster(numbers.name(found["fleet"], "fleet"), devices)


def _value(device: Device) -> dict[str, object]:
    return {"name": device.name, "class": device.device_class, "labels": dict(device.labels), "generation": device.generation}


def _device(value: object, where: str) -> Device:
    found = numbers.fields(value, where, ("name", "class", "labels", "generation"))
    return Device(
        numbers.device_name(found["name"], f"{where}.name"),
        numbers.name(found["class"], f"{where}.class"),
        numbers.labels(found["labels"], f"{where}.labels"),
        numbers.integer(found["generation"], f"{where}.generation", 0, report.MOST_GENERATION),
    )
