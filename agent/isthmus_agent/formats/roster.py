"""The roster: the devices of a fleet, which are the denominator of every gate. Signed; devices themselves never fetch it.

It holds no key: a device's report key follows from the fleet's secret, its name and its generation (`report.device_key`). A device that
was sent a token stands apart until it has used it, and what was removed leaves its generation, so that no key is ever given twice.
Reading what was written gives the same value: `from_json(it.to_json()) == it`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.numbers import FormatError

FORMAT: Final = 1
MOST_DEVICES: Final = 1_000_000
MOST_DOCUMENT_BYTES: Final = 256 << 20
MOST_PENDING: Final = 100_000


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all that is wanted is among a device's labels."""
    return all(labels.get(key) == value for key, value in wanted.items())


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
class Pending:
    """A device that has not used its token yet. claim: what shows that it has (`enrolment.claim_of`). expires_seconds: since 1970."""

    device: Device
    claim: str
    expires_seconds: int


@dataclass(frozen=True)
class Roster:
    """The devices in the order of their names. pending: with tokens not used yet, likewise. removed: last generation by name."""

    fleet: str
    devices: tuple[Device, ...] = ()
    pending: tuple[Pending, ...] = ()
    removed: Mapping[str, int] = field(default_factory=dict)

    def by_name(self) -> dict[str, Device]:
        """Each device by its name."""
        return {device.name: device for device in self.devices}

    @property
    def everybody(self) -> list[Device]:
        """The devices, and those that were sent a token; one that is to have new keys is both."""
        return [*self.devices, *(it.device for it in self.pending)]

    def with_device(self, device: Device) -> "Roster":
        """The roster with this device, in place of one of the same name."""
        others = [it for it in self.devices if it.name != device.name]
        return replace(self, devices=tuple(sorted([*others, device], key=lambda it: it.name)))

    def with_pending(self, *pending: Pending) -> "Roster":
        """The roster with these tokens, in place of those for the same devices."""
        names = {it.device.name for it in pending}
        others = [it for it in self.pending if it.device.name not in names]
        return replace(self, pending=tuple(sorted([*others, *pending], key=lambda it: it.device.name)))

    def without_pending(self, name: str) -> "Roster":
        """The roster without a device's token. That its generation was given is kept."""
        left, last = tuple(it for it in self.pending if it.device.name != name), self.generations().get(name)
        return replace(self, pending=left, removed=self.removed if last is None else {**self.removed, name: last})

    def without(self, name: str) -> "Roster":
        """The roster without a device, and without its token."""
        left = tuple(it for it in self.devices if it.name != name)
        return replace(self.without_pending(name), devices=left)

    def joined(self, name: str) -> "Roster":
        """The roster after a device has used its token."""
        (found,) = (it for it in self.pending if it.device.name == name)
        return replace(self.with_device(found.device), pending=tuple(it for it in self.pending if it is not found))

    def next_generation(self, name: str) -> int:
        """One that no device of this name was ever given."""
        return self.generations().get(name, -1) + 1

    def generations(self) -> dict[str, int]:
        """The last one that each name was given, by name."""
        found = dict(self.removed)
        for it in self.everybody:
            found[it.name] = max(it.generation, found.get(it.name, 0))
        return found

    def to_json(self) -> bytes:
        """The one way to write it."""
        pending = [{"device": _value(it.device), "claim": it.claim, "expires": it.expires_seconds} for it in self.pending]
        devices = [_value(it) for it in self.devices]
        value = {"format": FORMAT, "fleet": self.fleet, "devices": devices, "pending": pending, "removed": dict(self.removed)}
        return numbers.dump(value)


def from_json(content: bytes) -> Roster:
    """The roster in a document. Raises FormatError for every content that is none, and nothing else."""
    document = numbers.load(content, "the roster", MOST_DOCUMENT_BYTES)
    found = numbers.fields(document, "", ("format", "fleet", "devices", "pending", "removed"))
    numbers.integer(found["format"], "format", FORMAT, FORMAT)
    listed = numbers.items(found["devices"], "devices", MOST_DEVICES)
    devices = tuple(_device(it, f"devices[{index}]") for index, it in enumerate(listed))
    waiting = numbers.items(found["pending"], "pending", MOST_PENDING)
    pending = tuple(_pending(it, f"pending[{index}]") for index, it in enumerate(waiting))
    _in_order([device.name for device in devices], "devices")
    _in_order([it.device.name for it in pending], "pending")
    return Roster(numbers.name(found["fleet"], "fleet"), devices, pending, _removed(found["removed"]))


def _in_order(names: list[str], where: str) -> None:
    if numbers.unique(names, where, "name") != sorted(names):
        raise FormatError(where, "they are not in the order of their names")


def _removed(value: object) -> Mapping[str, int]:
    if not isinstance(value, dict) or len(value) > MOST_DEVICES:
        raise FormatError("removed", f"expected an object with {MOST_DEVICES} devices at most")
    return {numbers.device_name(name, "removed"): numbers.integer(it, "removed", 0, report.MOST_GENERATION) for name, it in value.items()}


def _pending(value: object, where: str) -> Pending:
    found = numbers.fields(value, where, ("device", "claim", "expires"))
    claim = numbers.hash_digits(found["claim"], f"{where}.claim")
    return Pending(_device(found["device"], f"{where}.device"), claim, numbers.integer(found["expires"], f"{where}.expires"))


def _value(device: Device) -> dict[str, object]:
    return {"name": device.name, "class": device.device_class, "labels": dict(device.labels), "generation": device.generation}


def _device(value: object, where: str) -> Device:
    found = numbers.fields(value, where, ("name", "class", "labels", "generation"))
    return Device(
        numbers.device_name(found["name"], f"{where}.name"),
        numbers.device_class(found["class"], f"{where}.class"),
        numbers.labels(found["labels"], f"{where}.labels"),
        numbers.integer(found["generation"], f"{where}.generation", 0, report.MOST_GENERATION),
    )
