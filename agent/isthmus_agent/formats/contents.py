"""The contents that an assignment names: a release's bundles by class of devices, and the deltas that lead to them.

Reading what was written gives the same values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import integer

ANY_CLASS: Final = "*"
MOST_VARIANTS: Final = 64
MOST_DELTAS: Final = 1024
MOST_BUNDLE_BYTES: Final = 4 << 30
BUNDLE_ENDING: Final = ".bundle"
DELTA_ENDING: Final = ".delta"
_VARIANT = ("class", "digest", "bundle", "bytes")
_SEALED = ("key",)


@dataclass(frozen=True)
class Variant:
    """A content for the devices of a class. digest: what names the content on a device. bundle: its target path. bytes: of the bundle.

    key: the name of the key that the bundle is sealed with (`sealed_contents`); None: it is plain.
    """

    device_class: str
    digest: str
    bundle: str
    bytes: int
    key: str | None = None

    def fits(self, device_class: str) -> bool:
        """Whether it is for devices of that class."""
        return self.device_class in (ANY_CLASS, device_class)

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        found = {"class": self.device_class, "digest": self.digest, "bundle": self.bundle, "bytes": self.bytes}
        return {**found, **_key_value(self)}


def fitting(variants: Sequence[Variant], device_class: str) -> Variant | None:
    """The first that is for devices of that class; None: none is."""
    return next((it for it in variants if it.fits(device_class)), None)


@dataclass(frozen=True)
class Delta:
    """What makes the bundle `to` out of the bundle `from_`. path: its target path. key: as of a variant."""

    from_: str
    to: str
    path: str
    bytes: int
    key: str | None = None

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {"from": self.from_, "to": self.to, "path": self.path, "bytes": self.bytes, **_key_value(self)}


def variants_from(value: object, where: str, fleet: str) -> tuple[Variant, ...]:
    """The contents that a parsed JSON value holds, at least one. Raises FormatError for every value that is none, and nothing else."""
    listed = numbers.items(value, where, MOST_VARIANTS, 1)
    found = tuple(_variant(it, f"{where}[{index}]", fleet) for index, it in enumerate(listed))
    numbers.unique([it.device_class for it in found], where, "class")
    return found


def _variant(value: object, where: str, fleet: str) -> Variant:
    found = numbers.fields(value, where, _VARIANT, _SEALED)
    return Variant(
        numbers.device_class(found["class"], f"{where}.class"),
        numbers.digest(found["digest"], f"{where}.digest"),
        numbers.target_path(found["bundle"], f"{where}.bundle", fleet, BUNDLE_ENDING),
        integer(found["bytes"], f"{where}.bytes", 1, MOST_BUNDLE_BYTES),
        _key(found, where),
    )


def deltas_from(value: object, where: str, fleet: str) -> tuple[Delta, ...]:
    """As `variants_from`, of deltas; there may be none."""
    found = []
    for index, it in enumerate(numbers.items(value, where, MOST_DELTAS)):
        place = f"{where}[{index}]"
        entry = numbers.fields(it, place, ("from", "to", "path", "bytes"), _SEALED)
        start, end = numbers.digest(entry["from"], f"{place}.from"), numbers.digest(entry["to"], f"{place}.to")
        path = numbers.target_path(entry["path"], f"{place}.path", fleet, DELTA_ENDING)
        size_bytes = integer(entry["bytes"], f"{place}.bytes", 1, MOST_BUNDLE_BYTES)
        found.append(Delta(start, end, path, size_bytes, _key(entry, place)))
    numbers.unique([(it.from_, it.to) for it in found], where, "step")
    return tuple(found)


def _key(found: Mapping[str, object], where: str) -> str | None:
    return numbers.key_name(found["key"], f"{where}.key") if "key" in found else None


def _key_value(of: Variant | Delta) -> dict[str, str]:
    """Left out for what is plain: so it was written before there were keys."""
    return {} if of.key is None else {"key": of.key}
