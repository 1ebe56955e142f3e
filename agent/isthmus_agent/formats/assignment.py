"""The assignment: which devices of a fleet are to have which content. It is the field `isthmus` of the fleet role's signed metadata.

Everything that a device acts upon stands here and is signed; nothing is ever taken from an object that is not. A device finds out by
itself what it is to have (`Assignment.wanted`): it belongs to the first wave that has it, and outside of the open waves it keeps `before`.

Membership is a draw, the same for everybody who knows the assignment: the first 4 bytes of SHA-256 over salt, a zero byte and the device's
name. A wave has the devices whose draw is below its share, so that a larger share has all that a smaller one has.

Reading what was written gives the same value: `from_value(it.to_value()) == it`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError, integer

FORMAT: Final = 1
WHOLE_SHARE: Final = 2**32
"""The share that every device falls under."""
ANY_CLASS: Final = "*"
MILLION: Final = 1_000_000
MOST_DOCUMENT_BYTES: Final = 4 << 20
MOST_VARIANTS: Final = 64
MOST_DELTAS: Final = 1024
MOST_WAVES: Final = 64
MOST_NAMED_DEVICES: Final = 10_000
MOST_BUNDLE_BYTES: Final = 4 << 30
MOST_PROBATION_SECONDS: Final = 7 * 86_400
MOST_LATENCY_MICROSECONDS: Final = 3600 * MILLION
MOST_CRASHES: Final = 1000
MOST_JITTER_SECONDS: Final = 86_400
MINUTES_A_DAY: Final = 1440
BUNDLE_ENDING: Final = ".bundle"
DELTA_ENDING: Final = ".delta"


def draw(salt: str, device: str) -> int:
    """The device's number in this rollout, from 0 up to WHOLE_SHARE."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{device}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Variant:
    """A content for the devices of a class. digest: what names the content on a device. bundle: its target path. bytes: of the bundle."""

    device_class: str
    digest: str
    bundle: str
    bytes: int

    def fits(self, device_class: str) -> bool:
        """Whether it is for devices of that class."""
        return self.device_class in (ANY_CLASS, device_class)


@dataclass(frozen=True)
class Delta:
    """What makes the bundle `to` out of the bundle `from_`. path: its target path."""

    from_: str
    to: str
    path: str
    bytes: int


@dataclass(frozen=True)
class Wave:
    """Devices whose draw is below `share` and that have all the labels, and those that are named."""

    name: str
    share: int
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[str] = ()

    def has(self, device: str, labels: Mapping[str, str], salt: str) -> bool:
        """Whether this wave has the device, whatever an earlier one has."""
        if device in self.devices:
            return True
        return all(labels.get(key) == value for key, value in self.labels.items()) and draw(salt, device) < self.share


@dataclass(frozen=True)
class Before:
    """What devices outside of the open waves keep: an earlier assignment's number and variants."""

    number: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Probation:
    """What a new content must show on a device before it counts as confirmed. None: not asked.

    seconds: how long it is looked at. max_crashes: how many are still forgiven in that time.
    max_distribution_distance_millionths: how far its predictions may be distributed from those of the version before, on the same inputs.
    """

    seconds: int = 60
    max_crashes: int = 0
    max_p95_microseconds: int | None = None
    max_rss_bytes: int | None = None
    max_distribution_distance_millionths: int | None = None


@dataclass(frozen=True)
class Window:
    """When a device may change what it serves: from minute to minute of the day in UTC; over midnight where `from_minute` is the larger.

    jitter_seconds: devices spread their changes over so much of it.
    """

    from_minute: int
    to_minute: int
    jitter_seconds: int = 0

    @property
    def length_seconds(self) -> int:
        """How long it is open a day."""
        return (self.to_minute - self.from_minute) % MINUTES_A_DAY * 60

    def opens_in_seconds(self, utc_seconds: float) -> float:
        """How long it is until it opens; 0 while it is open. utc_seconds: since 1970."""
        into = (utc_seconds - self.from_minute * 60) % (MINUTES_A_DAY * 60)
        return 0.0 if into < self.length_seconds else MINUTES_A_DAY * 60 - into


@dataclass(frozen=True)
class Wanted:
    """What one device is to have. number: of the assignment that its reports are about. variant: None: there is none for its class."""

    number: int
    variant: Variant | None


@dataclass(frozen=True)
class Assignment:
    """What the fleet role says. open_waves: so many of the waves, from the first, are open. before: None: there was nothing."""

    fleet: str
    number: int
    salt: str
    variants: tuple[Variant, ...]
    waves: tuple[Wave, ...]
    open_waves: int
    deltas: tuple[Delta, ...] = ()
    before: Before | None = None
    probation: Probation = Probation()
    window: Window | None = None
    paused: bool = False

    def wave_of(self, device: str, labels: Mapping[str, str]) -> int | None:
        """The index of the first wave that has the device. None: none has."""
        return next((index for index, wave in enumerate(self.waves) if wave.has(device, labels, self.salt)), None)

    def wanted(self, device: str, labels: Mapping[str, str], device_class: str) -> Wanted | None:
        """What this device is to have. None: nothing, as its wave is not open and there was nothing before."""
        wave = self.wave_of(device, labels)
        if wave is not None and wave < self.open_waves:
            return Wanted(self.number, _fitting(self.variants, device_class))
        return Wanted(self.before.number, _fitting(self.before.variants, device_class)) if self.before else None

    def deltas_to(self, digest: str) -> tuple[Delta, ...]:
        """The deltas that end in a content."""
        return tuple(it for it in self.deltas if it.to == digest)

    @property
    def identity(self) -> str:
        """What stays the same as long as the number does: 32 hexadecimal digits over contents, salt, waves and what was before.

        Opening waves, pausing, further deltas, limits and windows don't change it. Two assignments of one number that differ in it are
        not by one honest publisher.
        """
        whole = self.to_value()
        kept = {name: whole[name] for name in ("fleet", "number", "salt", "variants", "waves", "before")}
        return hashlib.sha256(numbers.dump(kept)).hexdigest()[:32]

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {
            "format": FORMAT,
            "fleet": self.fleet,
            "number": self.number,
            "salt": self.salt,
            "variants": [_variant_value(it) for it in self.variants],
            "deltas": [{"from": it.from_, "to": it.to, "path": it.path, "bytes": it.bytes} for it in self.deltas],
            "waves": [_wave_value(it) for it in self.waves],
            "open": self.open_waves,
            "before": _before_value(self.before) if self.before else None,
            "probation": {name: value for name in _PROBATION if (value := getattr(self.probation, name)) is not None},
            "window": _window_value(self.window) if self.window else None,
            "paused": self.paused,
        }


_VARIANT = ("class", "digest", "bundle", "bytes")
_PROBATION: dict[str, tuple[int, int]] = {
    "seconds": (0, MOST_PROBATION_SECONDS),
    "max_crashes": (0, MOST_CRASHES),
    "max_p95_microseconds": (1, MOST_LATENCY_MICROSECONDS),
    "max_rss_bytes": (1, numbers.MOST_NUMBER),
    "max_distribution_distance_millionths": (0, MILLION),
}
_NEEDED = ("format", "fleet", "number", "salt", "variants", "deltas", "waves", "open", "before", "probation", "window", "paused")


def from_json(content: bytes) -> Assignment:
    """As `from_value`, from a document's text."""
    return from_value(numbers.load(content, "the assignment", MOST_DOCUMENT_BYTES))


def from_value(value: object) -> Assignment:
    """The assignment that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, "", _NEEDED)
    integer(found["format"], "format", FORMAT, FORMAT)
    fleet = numbers.name(found["fleet"], "fleet")
    number = integer(found["number"], "number", 1)
    variants = _variants(found["variants"], "variants", fleet)
    waves = tuple(_wave(it, f"waves[{index}]") for index, it in enumerate(numbers.items(found["waves"], "waves", MOST_WAVES, 1)))
    numbers.unique([wave.name for wave in waves], "waves", "name")
    return Assignment(
        fleet=fleet,
        number=number,
        salt=numbers.salt(found["salt"], "salt"),
        variants=variants,
        waves=waves,
        open_waves=integer(found["open"], "open", 0, len(waves)),
        deltas=_deltas(found["deltas"], fleet),
        before=_before(found["before"], fleet, number),
        probation=_probation(found["probation"]),
        window=_window(found["window"]),
        paused=numbers.truth(found["paused"], "paused"),
    )


def _variants(value: object, where: str, fleet: str) -> tuple[Variant, ...]:
    listed = numbers.items(value, where, MOST_VARIANTS, 1)
    found = tuple(_variant(it, f"{where}[{index}]", fleet) for index, it in enumerate(listed))
    numbers.unique([it.device_class for it in found], where, "class")
    return found


def _variant(value: object, where: str, fleet: str) -> Variant:
    found = numbers.fields(value, where, _VARIANT)
    return Variant(
        numbers.device_class(found["class"], f"{where}.class"),
        numbers.digest(found["digest"], f"{where}.digest"),
        numbers.target_path(found["bundle"], f"{where}.bundle", fleet, BUNDLE_ENDING),
        integer(found["bytes"], f"{where}.bytes", 1, MOST_BUNDLE_BYTES),
    )


def _variant_value(variant: Variant) -> dict[str, Any]:
    return {"class": variant.device_class, "digest": variant.digest, "bundle": variant.bundle, "bytes": variant.bytes}


def _wave_value(wave: Wave) -> dict[str, Any]:
    return {"name": wave.name, "share": wave.share, "labels": dict(sorted(wave.labels.items())), "devices": list(wave.devices)}


def _before_value(before: Before) -> dict[str, Any]:
    return {"number": before.number, "variants": [_variant_value(it) for it in before.variants]}


def _window_value(window: Window) -> dict[str, Any]:
    return {"from": _clock(window.from_minute), "to": _clock(window.to_minute), "jitter_seconds": window.jitter_seconds}


def _deltas(value: object, fleet: str) -> tuple[Delta, ...]:
    found = []
    for index, it in enumerate(numbers.items(value, "deltas", MOST_DELTAS)):
        where = f"deltas[{index}]"
        entry = numbers.fields(it, where, ("from", "to", "path", "bytes"))
        start, end = numbers.digest(entry["from"], f"{where}.from"), numbers.digest(entry["to"], f"{where}.to")
        path = numbers.target_path(entry["path"], f"{where}.path", fleet, DELTA_ENDING)
        found.append(Delta(start, end, path, integer(entry["bytes"], f"{where}.bytes", 1, MOST_BUNDLE_BYTES)))
    numbers.unique([(it.from_, it.to) for it in found], "deltas", "step")
    return tuple(found)


def _wave(value: object, where: str) -> Wave:
    found = numbers.fields(value, where, ("name", "share", "labels", "devices"))
    listed = numbers.items(found["devices"], f"{where}.devices", MOST_NAMED_DEVICES)
    devices = tuple(numbers.device_name(it, f"{where}.devices[{index}]") for index, it in enumerate(listed))
    numbers.unique(devices, f"{where}.devices", "device")
    share = integer(found["share"], f"{where}.share", 0, WHOLE_SHARE)
    return Wave(numbers.name(found["name"], f"{where}.name"), share, numbers.labels(found["labels"], f"{where}.labels"), devices)


def _before(value: object, fleet: str, number: int) -> Before | None:
    if value is None:
        return None
    found = numbers.fields(value, "before", ("number", "variants"))
    return Before(integer(found["number"], "before.number", 1, number - 1), _variants(found["variants"], "before.variants", fleet))


def _probation(value: object) -> Probation:
    found = numbers.fields(value, "probation", ("seconds", "max_crashes"), _PROBATION)
    return Probation(**{name: integer(it, f"probation.{name}", *_PROBATION[name]) for name, it in found.items()})


def _window(value: object) -> Window | None:
    if value is None:
        return None
    found = numbers.fields(value, "window", ("from", "to", "jitter_seconds"))
    start, end = (_minute(found[name], f"window.{name}") for name in ("from", "to"))
    if start == end:
        raise FormatError("window", "it opens and closes at the same minute")
    return Window(start, end, integer(found["jitter_seconds"], "window.jitter_seconds", 0, MOST_JITTER_SECONDS))


def _minute(value: object, where: str) -> int:
    if isinstance(value, str) and len(value) == 5 and value.isascii() and value[2] == ":" and (value[:2] + value[3:]).isdigit():
        hour, minute = int(value[:2]), int(value[3:])
        if hour < 24 and minute < 60:
            return hour * 60 + minute
    raise FormatError(where, f"found {numbers.shown(value)}, expected a time of day in UTC, such as 01:30")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _fitting(variants: Sequence[Variant], device_class: str) -> Variant | None:
    return next((it for it in variants if it.fits(device_class)), None)
