"""The waves of a rollout: from what a user writes to the devices of each wave, and to the form that is signed. Pure.

A wave says who has the release once it is open. `percent` and `count` are of all devices that its selector (`labels`, `group`) fits, so
that they grow from wave to wave: `[{percent: 1}, {percent: 10}, {percent: 100}]`. A selector alone means all that it fits; `devices`
names them.

A device belongs to the first wave that has it. Which devices a share has is drawn (`isthmus_agent.formats.assignment`):
the same for everybody who knows the signed form, other ones in the next rollout, and the ones with the smallest draws first. The shares
are picked so that exactly the wanted number of the roster's devices falls under each.
"""

import difflib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from isthmus.errors import InputError, Problem, property_path
from isthmus.fleet.pacing import pace_of, pace_problems
from isthmus.limits import FLEET_WAVE
from isthmus_agent.formats.assignment import WHOLE_SHARE, draw
from isthmus_agent.formats.assignment import Wave as SignedWave
from isthmus_agent.formats.pace import pace_draw
from isthmus_agent.formats.roster import Device, has_labels

GROUP_LABEL: Final = "group"
"""The label that `group` is short for."""
_SHOWN = 3


@dataclass(frozen=True)
class Wave:
    """A wave as a user writes it. name: empty: `canary` for the first of several, else its place. most_per_minute: of its devices that
    begin; None: all at once."""

    name: str = ""
    percent: float | None = None
    count: int | None = None
    group: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[str] = ()
    most_per_minute: int | None = None

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels that a device must have."""
        return self.labels if self.group is None else {**self.labels, GROUP_LABEL: self.group}


@dataclass(frozen=True)
class PlannedWave:
    """signed: its signed form. devices: that it brings the release to and no wave before it did, in the order of their draws."""

    signed: SignedWave
    devices: tuple[str, ...]


def check_waves(waves: Sequence[Wave], path: str = "waves") -> list[Problem]:
    """What is wrong with the list whatever devices the fleet has."""
    return [*_of_list(waves, path), *(it for index, wave in enumerate(waves) for it in _of_wave(wave, property_path([index], path)))]


def plan_waves(waves: Sequence[Wave], roster: Sequence[Device], salt: str, path: str = "waves") -> tuple[PlannedWave, ...]:
    """The devices of each wave. Raises InputError with everything that is wrong with the list."""
    problems = [*_of_list(waves, path)]
    if not roster:
        problems.append(Problem(path, "the fleet has no devices", "at least one enrolled device", "enrol one first"))
    for index, wave in enumerate(waves):
        where = property_path([index], path)
        problems += [*_of_wave(wave, where), *_of_wave_and_roster(wave, roster, where)]
    if problems:
        raise InputError(problems)
    planned, reached = _resolved(waves, roster, salt)
    problems += _not_growing(waves, roster, path)
    grew = {problem.path for problem in problems}
    for index, it in enumerate(planned):
        where = property_path([index], path)
        if not it.devices and not any(known.startswith(where) for known in grew):
            fix = "remove it, or move it before the wave that takes them"
            problems.append(Problem(where, "every device of it is in a wave before it", "at least one device", fix))
    missing = [device.name for device in roster if device.name not in reached]
    if missing:
        where = property_path([len(waves) - 1], path)
        what = f"after the last wave {_number(len(missing))} of {len(roster)} would not have the release ({_shown(missing)})"
        problems.append(Problem(where, what, "waves that reach all devices", "end with `percent: 100`"))
    for index, it in enumerate(planned):
        problems += pace_problems(len(it.devices), it.signed.pace, f"{property_path([index], path)}.most_per_minute")
    if problems:
        raise InputError(problems)
    return planned


def _resolved(waves: Sequence[Wave], roster: Sequence[Device], salt: str) -> tuple[tuple[PlannedWave, ...], Collection[str]]:
    draws = {device.name: draw(salt, device.name) for device in roster}
    reached: set[str] = set()
    planned = []
    for name, wave in zip(wave_names(waves), waves, strict=True):
        fitting = sorted(_fitting(wave.selector, roster), key=lambda name: (draws[name], name))
        if wave.devices:
            share, named, having = 0, tuple(wave.devices), sorted(wave.devices, key=lambda name: (draws[name], name))
        else:
            having = fitting[: _wanted(wave, len(fitting))]
            share, named = _share(having, fitting, draws)
        new = tuple(it for it in having if it not in reached)
        pace = None if wave.most_per_minute is None else pace_of([pace_draw(salt, it) for it in new], wave.most_per_minute)
        planned.append(PlannedWave(SignedWave(name, share, wave.selector, named, pace=pace), new))
        reached.update(having)
    return tuple(planned), reached


def _share(having: Sequence[str], fitting: Sequence[str], draws: Mapping[str, int]) -> tuple[int, tuple[str, ...]]:
    """The share that has exactly these, the first of those that fit; and who has to be named because the next has the same draw."""
    if len(having) == len(fitting):
        return WHOLE_SHARE, ()
    last = draws[having[-1]]
    if draws[fitting[len(having)]] > last:
        return last + 1, ()
    return last, tuple(name for name in having if draws[name] == last)


def _wanted(wave: Wave, fitting: int) -> int:
    """How many devices have the release once the wave is open, of those that its selector fits."""
    if wave.count is not None:
        return wave.count
    if wave.percent is None:
        return fitting
    return math.ceil(Fraction(str(wave.percent)) * fitting / 100)  # 10 % of 30 are 3, which floats may deny


def _fitting(selector: Mapping[str, str], roster: Sequence[Device]) -> list[str]:
    return [device.name for device in roster if has_labels(device.labels, selector)]


def wave_names(waves: Sequence[Wave]) -> list[str]:
    """What each wave is called."""
    return [wave.name or ("canary" if index == 0 and len(waves) > 1 else f"wave-{index + 1}") for index, wave in enumerate(waves)]


def _of_list(waves: Sequence[Wave], path: str) -> Iterator[Problem]:
    if not waves:
        yield Problem(path, "no wave", "at least one", "write `[{percent: 100}]` for a rollout to all at once")
    names = wave_names(waves)
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Problem(path, f"two waves are named {name!r}", "different names")


def _of_wave(wave: Wave, where: str) -> Iterator[Problem]:
    """What is wrong with one wave, whatever the others are."""
    if wave.percent is None and wave.count is None and not wave.selector and not wave.devices:
        yield Problem(where, "says no devices", "`percent`, `count`, `group`, `labels` or `devices`", "add one of them")
    if wave.percent is not None and wave.count is not None:
        yield Problem(where, "has both `percent` and `count`", "one of them", "remove one")
    if wave.devices and (wave.percent is not None or wave.count is not None or wave.selector):
        yield Problem(where, "has `devices` beside another choice of devices", "`devices` alone", "make two waves of it")
    if wave.group is not None and wave.labels.get(GROUP_LABEL, wave.group) != wave.group:
        yield Problem(where, f"`group` is {wave.group!r} and the label `group` {wave.labels[GROUP_LABEL]!r}", "one of them", "remove one")
    for name, limit in FLEET_WAVE.items():
        value = getattr(wave, name)
        if value is not None and not limit.allows(value):
            yield Problem(f"{where}.{name}", f"found {value:g}", limit.range)
    seen: set[str] = set()
    for index, name in enumerate(wave.devices):
        if name in seen:
            yield Problem(property_path(["devices", index], where), f"names {name!r} again", "each device once", "remove it")
        seen.add(name)


def _of_wave_and_roster(wave: Wave, roster: Sequence[Device], where: str) -> Iterator[Problem]:
    yield from _unknown_labels(wave, roster, where)
    yield from _unknown_devices(wave.devices, [device.name for device in roster], f"{where}.devices")
    fitting = len(_fitting(wave.selector, roster))
    if wave.count is not None and 0 < fitting < wave.count:
        yield Problem(f"{where}.count", f"found {wave.count}", f"1 to {fitting}, which is how many devices fit")


def _unknown_labels(wave: Wave, roster: Sequence[Device], where: str) -> Iterator[Problem]:
    unknown = False
    for key, value in wave.selector.items():
        known = sorted({device.labels[key] for device in roster if key in device.labels})
        if value in known or not roster:
            continue
        unknown = True
        is_group = key == GROUP_LABEL and wave.group is not None
        what = f"no device has the label {key!r}" if not known else f"no device has {value!r} for {key!r}"
        expected = f"one of {_shown(known)}" if known else _known_keys(roster)
        yield Problem(f"{where}.group" if is_group else property_path(["labels", key], where), what, expected, _suggestion(value, known))
    if roster and wave.selector and not unknown and not _fitting(wave.selector, roster):
        yield Problem(f"{where}.labels", "no device has all of these labels", "labels that one device has together")


def _known_keys(roster: Sequence[Device]) -> str:
    keys = sorted({key for device in roster for key in device.labels})
    return f"one of the labels {_shown(keys)}" if keys else "devices with labels"


def _unknown_devices(devices: Sequence[str], roster: Sequence[str], where: str) -> Iterator[Problem]:
    known = set(roster)
    for index, name in enumerate(devices):
        if name not in known:
            yield Problem(
                property_path([index], where), f"the fleet has no device {name!r}", "an enrolled device", _suggestion(name, roster)
            )


def _not_growing(waves: Sequence[Wave], roster: Sequence[Device], path: str) -> Iterator[Problem]:
    """One problem for each wave of which an earlier one with the same selector has as much, or more."""
    most: dict[frozenset[tuple[str, str]], tuple[int, int]] = {}
    for index, wave in enumerate(waves):
        if wave.devices:
            continue
        selector = frozenset(wave.selector.items())
        fitting = len(_fitting(wave.selector, roster))
        wanted = _wanted(wave, fitting)
        before, had = most.get(selector, (-1, 0))
        if wanted <= had:
            what = f"has {_number(wanted)} of {fitting}, and {property_path([before], path)} before it {had}"
            fix = "waves add up: write how much has the release after the wave"
            yield Problem(property_path([index], path), what, f"more than {had}", fix)
        else:
            most[selector] = (index, wanted)


def _suggestion(value: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(value, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _number(devices: int) -> str:
    return f"{devices} device" + ("" if devices == 1 else "s")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
