"""The assignment: which devices of a fleet are to have which content. It is the field `isthmus` of the fleet role's signed metadata.

Everything that a device acts upon stands here and is signed; nothing is ever taken from an object that is not. A device finds out by
itself what it is to have (`Assignment.wanted`): it belongs to the first wave that has it, and outside of the open waves, or until its turn
has come, it keeps what it has: that of an earlier rollout that reached it and did not come to its end (`kept`), else `before`.

Gates of the waves are for whoever opens the next one: a device acts on none, and asks when its wave was opened only if that has a pace.

Membership is a draw, the same for everybody who knows the assignment: the first 4 bytes of SHA-256 over salt, a zero byte and the device's
name. A wave has the devices whose draw is below its share, so that a larger share has all that a smaller one has.

Reading what was written gives the same value: `from_value(it.to_value()) == it`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus_agent.formats import contents, gate, numbers, pace, probation, samples_wanted, turns, window
from isthmus_agent.formats.contents import Delta, Variant, fitting
from isthmus_agent.formats.gate import Gate
from isthmus_agent.formats.numbers import FormatError, integer
from isthmus_agent.formats.pace import WHOLE_PACE, Pace, drawn, pace_draw
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.roster import has_labels
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.formats.signed_fields import MOST_SECONDS
from isthmus_agent.formats.turns import Reached, Turns
from isthmus_agent.formats.window import Window

FORMAT: Final = 1
WHOLE_SHARE: Final = 2**32
"""The share that every device falls under."""
MOST_DOCUMENT_BYTES: Final = 4 << 20
MOST_WAVES: Final = 64
MOST_KEPT: Final = 8
MOST_NAMED_DEVICES: Final = 10_000


def draw(salt: str, device: str) -> int:
    """The device's number in this rollout, from 0 up to WHOLE_SHARE."""
    return drawn(f"{salt}\0{device}", 4)


@dataclass(frozen=True)
class Wave:
    """Devices whose draw is below `share` and that have all the labels, and those that are named. gate: None: nobody waits for them.

    pace: how many of them begin in a minute; None: all may at once. reached: of a wave that is kept: only those whose `pace_draw` is below.
    """

    name: str
    share: int
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[str] = ()
    gate: Gate | None = None
    pace: Pace | None = None
    reached: int = WHOLE_PACE

    def has(self, device: str, labels: Mapping[str, str], salt: str) -> bool:
        """Whether this wave has the device, whatever an earlier one has."""
        if device in self.devices:
            return True
        return has_labels(labels, self.labels) and draw(salt, device) < self.share


@dataclass(frozen=True)
class Before:
    """What devices outside of the open waves keep: the number and variants of the last release that came to its end."""

    number: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Kept:
    """An earlier rollout that was replaced before it came to its end: whom it had reached keeps its content until a wave reaches it again.

    waves: those that were open, without their gates and paces: as far as they had come. turns: likewise; None: it had none.
    """

    number: int
    salt: str
    variants: tuple[Variant, ...]
    waves: tuple[Wave, ...]
    turns: Reached | None = None

    def has(self, device: str, labels: Mapping[str, str]) -> bool:
        """Whether it had reached the device: the wave that the device belongs to had."""
        wave = _first(self.waves, self.salt, device, labels)
        if wave is None:
            return False
        its = pace_draw(self.salt, device)
        return its < self.waves[wave].reached and (self.turns is None or self.turns.has(labels, wave, its))


@dataclass(frozen=True)
class Wanted:
    """What one device is to have. number: of the assignment that its reports are about. variant: None: there is none for its class."""

    number: int
    variant: Variant | None


@dataclass(frozen=True)
class Assignment:
    """What the fleet role says. open_waves: so many of the waves, from the first, are open. before: None: there was nothing.

    kept: rollouts since `before` that did not come to their end, the last one first. opened_seconds: since 1970, when each open wave was
    opened, or went on after a pause. passed_seconds: when the last wave had passed: the release is the fleet's; None: it has not.
    samples: None, which is not written: inputs never leave a device. turns: None, which is not written: all of an open wave may begin.
    counts: whether devices tell how often their network and load went from level to level; False, which is not written: they do not.
    """

    fleet: str
    number: int
    salt: str
    variants: tuple[Variant, ...]
    waves: tuple[Wave, ...]
    open_waves: int
    deltas: tuple[Delta, ...] = ()
    before: Before | None = None
    probation: Probation = field(default_factory=Probation)
    window: Window | None = None
    paused: bool = False
    kept: tuple[Kept, ...] = ()
    opened_seconds: tuple[int, ...] = ()
    passed_seconds: int | None = None
    samples: SamplesWanted | None = None
    turns: Turns | None = None
    counts: bool = False

    def wave_of(self, device: str, labels: Mapping[str, str]) -> int | None:
        """The index of the first wave that has the device. None: none has."""
        return _first(self.waves, self.salt, device, labels)

    def wanted(self, device: str, labels: Mapping[str, str], device_class: str) -> Wanted | None:
        """What this device is to have. None: nothing, as it is not reached yet and there was nothing before."""
        wave = self.wave_of(device, labels)
        if wave is not None and self.has_turn(device, labels, wave):
            return Wanted(self.number, fitting(self.variants, device_class))
        for it in self.kept:
            if it.has(device, labels):
                return Wanted(it.number, fitting(it.variants, device_class))
        return Wanted(self.before.number, fitting(self.before.variants, device_class)) if self.before else None

    def has_turn(self, device: str, labels: Mapping[str, str], wave: int) -> bool:
        """Whether the device, which is of the wave of that index, is to have the release by now."""
        if wave >= self.open_waves:
            return False
        return self.turns is None or self.turns.reached.has(labels, wave, pace_draw(self.salt, device))

    def begins(self, device: str, labels: Mapping[str, str]) -> tuple[int, int] | None:
        """When the device's open wave was opened, and how many seconds later the device may begin. None: at once."""
        wave = self.wave_of(device, labels)
        if wave is None or wave >= self.open_waves or (its := self.waves[wave].pace) is None:
            return None
        return self.opened_seconds[wave], its.later_seconds(pace_draw(self.salt, device))

    @property
    def contents(self) -> tuple[Variant, ...]:
        """All that some device may be told: of the release, of what was before it, and of what is kept."""
        before = self.before.variants if self.before else ()
        return (*self.variants, *before, *(variant for it in self.kept for variant in it.variants))

    def deltas_to(self, digest: str) -> tuple[Delta, ...]:
        """The deltas that end in a content."""
        return tuple(it for it in self.deltas if it.to == digest)

    @property
    def identity(self) -> str:
        """What stays the same as long as the number does: 32 hexadecimal digits over contents, salt, waves and what was before.

        Opening waves, turns, pausing, further deltas, gates, paces, limits and windows don't change it. Two assignments of one number that
        differ in it are not by one honest publisher.
        """
        whole = self.to_value()
        kept = {name: whole[name] for name in ("fleet", "number", "salt", "variants", "before", "kept")}
        kept["waves"] = [_members_value(it) for it in self.waves]
        return hashlib.sha256(numbers.dump(kept)).hexdigest()[:32]

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {
            "format": FORMAT,
            "fleet": self.fleet,
            "number": self.number,
            "salt": self.salt,
            "variants": [it.to_value() for it in self.variants],
            "deltas": [it.to_value() for it in self.deltas],
            "waves": [_wave_value(it) for it in self.waves],
            "open": self.open_waves,
            "opened": list(self.opened_seconds),
            "passed": self.passed_seconds,
            "before": _before_value(self.before) if self.before else None,
            "kept": [_kept_value(it) for it in self.kept],
            "probation": self.probation.to_value(),
            "window": self.window.to_value() if self.window else None,
            "paused": self.paused,
            **({"samples": self.samples.to_value()} if self.samples else {}),
            **({"turns": self.turns.to_value()} if self.turns else {}),
            **({"counts": True} if self.counts else {}),
        }


_MEMBERS = ("name", "share", "labels", "devices")
_ROLLOUT = ("fleet", "number", "salt", "variants", "deltas", "waves", "open", "opened", "passed", "before", "kept")
_NEEDED = ("format", *_ROLLOUT, "probation", "window", "paused")


def from_json(content: bytes) -> Assignment:
    """As `from_value`, from a document's text."""
    return from_value(numbers.load(content, "the assignment", MOST_DOCUMENT_BYTES))


def from_value(value: object) -> Assignment:
    """The assignment that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, "", _NEEDED, ("samples", "turns", "counts"))
    integer(found["format"], "format", FORMAT, FORMAT)
    fleet = numbers.name(found["fleet"], "fleet")
    number = integer(found["number"], "number", 1)
    variants = contents.variants_from(found["variants"], "variants", fleet)
    waves = _waves(found["waves"], "waves", 1)
    open_waves = integer(found["open"], "open", 0, len(waves))
    return Assignment(
        fleet=fleet,
        number=number,
        salt=numbers.salt(found["salt"], "salt"),
        variants=variants,
        waves=waves,
        open_waves=open_waves,
        deltas=contents.deltas_from(found["deltas"], "deltas", fleet),
        before=_before(found["before"], fleet, number),
        probation=probation.from_value(found["probation"], "probation"),
        window=None if found["window"] is None else window.from_value(found["window"], "window"),
        paused=numbers.truth(found["paused"], "paused"),
        kept=_kept(found["kept"], fleet, number),
        opened_seconds=_opened(found["opened"], open_waves),
        passed_seconds=_passed(found["passed"], open_waves == len(waves)),
        samples=samples_wanted.from_value(found["samples"], "samples") if "samples" in found else None,
        turns=turns.from_value(found["turns"], "turns", len(waves)) if "turns" in found else None,
        counts="counts" in found and _agreed(found["counts"], "counts"),
    )


def _wave_value(wave: Wave) -> dict[str, Any]:
    paced = {"pace": wave.pace.to_value()} if wave.pace else {}
    return _members_value(wave) | {"gate": wave.gate.to_value() if wave.gate else None} | paced


def _members_value(wave: Wave) -> dict[str, Any]:
    reached = {"reached": wave.reached} if wave.reached < WHOLE_PACE else {}
    return {"name": wave.name, "share": wave.share, "labels": dict(sorted(wave.labels.items())), "devices": list(wave.devices)} | reached


def _before_value(before: Before) -> dict[str, Any]:
    return {"number": before.number, "variants": [it.to_value() for it in before.variants]}


def _kept_value(kept: Kept) -> dict[str, Any]:
    variants, waves = [it.to_value() for it in kept.variants], [_members_value(it) for it in kept.waves]
    by_turns = {"turns": kept.turns.to_value()} if kept.turns else {}
    return {"number": kept.number, "salt": kept.salt, "variants": variants, "waves": waves, **by_turns}


def _waves(value: object, where: str, least: int, *, are_kept: bool = False) -> tuple[Wave, ...]:
    listed = numbers.items(value, where, MOST_WAVES, least)
    waves = tuple(_wave(it, f"{where}[{index}]", are_kept=are_kept) for index, it in enumerate(listed))
    numbers.unique([wave.name for wave in waves], where, "name")
    return waves


def _wave(value: object, where: str, *, are_kept: bool) -> Wave:
    found = numbers.fields(value, where, *(((_MEMBERS, ("reached",))) if are_kept else ((*_MEMBERS, "gate"), ("pace",))))
    its, paced = found.get("gate"), found.get("pace")
    listed = numbers.items(found["devices"], f"{where}.devices", MOST_NAMED_DEVICES)
    devices = tuple(numbers.device_name(it, f"{where}.devices[{index}]") for index, it in enumerate(listed))
    numbers.unique(devices, f"{where}.devices", "device")
    share = integer(found["share"], f"{where}.share", 0, WHOLE_SHARE)
    name, labels = numbers.name(found["name"], f"{where}.name"), numbers.labels(found["labels"], f"{where}.labels")
    return Wave(
        name,
        share,
        labels,
        devices,
        gate=None if its is None else gate.from_value(its, f"{where}.gate"),
        pace=None if paced is None else pace.from_value(paced, f"{where}.pace"),
        reached=integer(found.get("reached", WHOLE_PACE), f"{where}.reached", 0, WHOLE_PACE),
    )


def _before(value: object, fleet: str, number: int) -> Before | None:
    if value is None:
        return None
    found = numbers.fields(value, "before", ("number", "variants"))
    return Before(
        integer(found["number"], "before.number", 1, number - 1), contents.variants_from(found["variants"], "before.variants", fleet)
    )


def _kept(value: object, fleet: str, number: int) -> tuple[Kept, ...]:
    found: list[Kept] = []
    for index, it in enumerate(numbers.items(value, "kept", MOST_KEPT)):
        where = f"kept[{index}]"
        entry = numbers.fields(it, where, ("number", "salt", "variants", "waves"), ("turns",))
        its_number = integer(entry["number"], f"{where}.number", 1, (found[-1].number if found else number) - 1)
        variants = contents.variants_from(entry["variants"], f"{where}.variants", fleet)
        waves = _waves(entry["waves"], f"{where}.waves", 1, are_kept=True)
        by_turns = turns.reached_from(entry["turns"], f"{where}.turns", len(waves)) if "turns" in entry else None
        found.append(Kept(its_number, numbers.salt(entry["salt"], f"{where}.salt"), variants, waves, by_turns))
    return tuple(found)


def _opened(value: object, open_waves: int) -> tuple[int, ...]:
    listed = numbers.items(value, "opened", open_waves, open_waves)
    return tuple(integer(it, f"opened[{index}]", 0, MOST_SECONDS) for index, it in enumerate(listed))


def _passed(value: object, all_open: bool) -> int | None:
    if value is None:
        return None
    if not all_open:
        raise FormatError("passed", "not all waves are open")
    return integer(value, "passed", 0, MOST_SECONDS)


def _agreed(value: object, where: str) -> bool:
    """True: what is not agreed to is not written."""
    if value is not True:
        raise FormatError(where, f"found {numbers.shown(value)}, expected true, or nothing")
    return True


def _first(waves: Sequence[Wave], salt: str, device: str, labels: Mapping[str, str]) -> int | None:
    return next((index for index, wave in enumerate(waves) if wave.has(device, labels, salt)), None)
