"""Where the requests of devices run now: what devices and the cloud role have said, and what is shown of it. Values in, values out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from isthmus.words import duration, plain
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.numbers import FormatError, load
from isthmus_agent.formats.policy import MOST_DOCUMENT_BYTES, Policy, from_json
from isthmus_agent.formats.routing import BY_PEER, FIRST, FULL, NONE, OPEN, OUTCOMES, PASSED_ON, Level, Routing

MOST_ROWS: Final = 20
"""Devices beyond so many are shown by class."""
SHARES: Final = OUTCOMES
"""In the order in which they are shown."""
HEADS: Final[Mapping[str, str]] = {"here": "here", "cloud": "cloud", "passed_on": "passed on", "peer": "peer", "failed": "failed"}


@dataclass(frozen=True)
class DeviceReading:
    """What one device said. routing: None where it said nothing that can be read, and then problem says why. age_seconds: of what it said;
    0: it was asked now."""

    name: str
    routing: Routing | None = None
    problem: str = ""
    age_seconds: float = 0.0


@dataclass(frozen=True)
class CloudReading:
    """The cloud role's servers: how many there are, and how many of them are ready. problem: why they could not be asked."""

    name: str
    servers: int = 0
    ready: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Reading:
    """One look at a hybrid. time: when it was, in words. cloud: None: there is none in this stack."""

    name: str
    time: str
    devices: tuple[DeviceReading, ...]
    cloud: CloudReading | None = None

    def data(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **asdict(self),
            "from_devices_per_second": from_devices(self),
            "turned_away": turned_away(self),
            "why": {it.name: why(it) for it in self.devices},
        }


@dataclass(frozen=True)
class Row:
    """A device, or all devices of a class. now: where their requests run first: the place, or places with how many. shares: of the requests
    of the last minute, 0 to 1, by SHARES; empty where there were none. numbers: None: not known; of a class the middle, and of p95 the
    largest. breaker: such as `closed`, or `closed 3, open 1`."""

    name: str
    now: str
    shares: Mapping[str, float] = field(default_factory=dict)
    per_second: float | None = None
    round_trip_ms: float | None = None
    breaker: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    why: str = ""
    is_well: bool = True


@dataclass(frozen=True)
class MapCell:
    """Of a map: the place to be in next, by its number, and which devices are in this cell now."""

    place: int
    name: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningMap:
    """A policy's map for where some devices' requests run now. rows: a level of the first dimension, and its cells."""

    title: str
    places: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MapCell, ...]], ...]
    names: tuple[str, str]


def rows(reading: Reading) -> tuple[Row, ...]:
    """A row for each device; of more than MOST_ROWS, one for each class and for each that said nothing, up to as many again."""
    if len(reading.devices) <= MOST_ROWS:
        return tuple(_row(it.name, [it]) for it in reading.devices)
    classes: dict[str, list[DeviceReading]] = {}
    for it in reading.devices:
        classes.setdefault(_class(it), []).append(it)
    silent = [it for it in reading.devices if it.routing is None]
    found = [_row(f"{_titled(name)} · {len(its)}", its) for name, its in sorted(classes.items()) if name]
    more = [Row(f"… and {len(silent) - MOST_ROWS} more", "", why="said nothing", is_well=False)] if len(silent) > MOST_ROWS else []
    return (*found, *(_row(it.name, [it]) for it in silent[:MOST_ROWS]), *more)


def why(it: DeviceReading) -> str:
    """Why a device's requests run where they do, in words."""
    routing = it.routing
    if routing is None:
        return it.problem
    parts = [f"said {duration(it.age_seconds)} ago"] if it.age_seconds >= 1 else []
    if routing.breaker in (OPEN, FULL):
        parts.append({OPEN: "the cloud role is away", FULL: "the cloud role is full"}[routing.breaker])
    if routing.levels:
        parts.append(f"policy: {', '.join(map(_level, routing.levels))}")
    elif it.age_seconds >= 1:
        asked = sum(routing.totals.values())
        elsewhere = sum(routing.totals[name] for name in (FIRST, PASSED_ON, BY_PEER))
        parts.append(f"{elsewhere:,} of {asked:,} requests were answered elsewhere since its start")
    elif routing.breaker == NONE:
        parts.append("it asks nobody")
    else:
        parts.append("no policy: what is unsure is passed on")
    return "; ".join(parts)


def from_devices(reading: Reading) -> float:
    """Answers that the cloud role gives devices, per second, over the last minute."""
    found = [it.routing for it in reading.devices if it.routing and it.routing.recent_ms and not it.age_seconds]
    return sum((it.recent["cloud"] + it.recent["passed_on"]) * 1000 / it.recent_ms for it in found)


def turned_away(reading: Reading) -> int:
    """How often devices were told that the cloud role has no room, since they started."""
    return sum(it.routing.asked["full"] for it in reading.devices if it.routing)


def cloud_line(reading: Reading) -> str:
    """The cloud role in one line."""
    cloud = reading.cloud
    if cloud is None:
        return "the stack has no cloud role"
    if cloud.problem:
        return cloud.problem
    return (
        f"{cloud.ready} of {cloud.servers} servers ready; answers {plain(from_devices(reading))} requests per second of devices; "
        f"turned away {turned_away(reading):,}"
    )


def notes(reading: Reading) -> Iterator[str]:
    """What is out of the ordinary with all of it."""
    if not reading.devices:
        yield "no device: the fleet has none on this machine, and none of its devices has said where its requests run"
    said = [it.routing for it in reading.devices if it.routing]
    if said and all(it.age_seconds >= 1 for it in reading.devices if it.routing):
        yield "devices are elsewhere: this is what they have reported, as old as it says; a map is shown where they can be asked"
    elif said and not any(it.policy for it in said):
        yield "no device follows a policy, so there is no map: give the hybrid a `policy`, and devices `policy: as_signed`"


def maps(reading: Reading, most: int | None = None) -> tuple[RunningMap, ...]:
    """The policies' maps that devices are on now, the ones with most devices first. most: so many at the most; None: all."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[DeviceReading]] = {}
    for it in reading.devices:
        if it.routing and it.routing.policy:
            rest = tuple(level.level for level in it.routing.levels[2:])
            groups.setdefault((it.routing.policy, it.routing.place, rest), []).append(it)
    ordered = sorted(groups.values(), key=len, reverse=True)[:most]
    return tuple(found for its in ordered if (found := _map(its)))


def policy_of(routing: Routing) -> Policy | None:
    """The policy that a device says it follows; None where it is none."""
    try:
        return from_json(routing.policy.encode(), routing.release)
    except FormatError:
        return None


def _map(its: Sequence[DeviceReading]) -> RunningMap | None:
    """One map, of devices in one place of one policy. None where a device's policy cannot be read, or its levels are not its."""
    first = its[0].routing
    policy = policy_of(first) if first else None
    if first is None or policy is None or [it.name for it in policy.dimensions] != [it.name for it in first.levels]:
        return None
    at = [_index(it.levels, level.level) for it, level in zip(policy.dimensions, first.levels, strict=True)]
    place = policy.places.index(first.place)
    here: dict[tuple[str, ...], list[str]] = {}
    for it in its:
        here.setdefault(tuple(level.level for level in it.routing.levels[:2]) if it.routing else (), []).append(it.name)
    down, across = (policy.dimensions[index].levels if index < len(policy.dimensions) else ("",) for index in (0, 1))

    def cell(row: int, column: int) -> MapCell:
        levels = [row, column, *at[2:]][: len(policy.dimensions)]
        now = tuple(it.levels[level] for it, level in zip(policy.dimensions[:2], levels, strict=False))
        found = policy.next_place(place, levels)
        return MapCell(found, policy.places[found], tuple(here.get(now, ())))

    rest = [f"{level.name} {level.level}" for level in first.levels[2:]]
    title = " · ".join([_titled(policy.device_class), f"now on {first.place}", *rest])
    drawn = tuple((name, tuple(cell(row, column) for column in range(len(across)))) for row, name in enumerate(down))
    names = tuple(policy.dimensions[index].name if index < len(policy.dimensions) else "" for index in (0, 1))
    return RunningMap(title, policy.places, tuple(across), drawn, (names[0], names[1]))


def _row(name: str, its: Sequence[DeviceReading]) -> Row:
    said = [it.routing for it in its if it.routing]
    if not said:
        return Row(name, "", why=its[0].problem, is_well=False)
    recent = Counter[str]()
    for it in said:
        recent.update(it.recent)
    asked = sum(recent[outcome] for outcome in OUTCOMES)
    rates = [sum(it.recent.values()) * 1000 / it.recent_ms for it in said if it.recent_ms]
    texts = Counter(map(why, its)) if len(its) > 1 else {why(its[0]): 1}
    return Row(
        name,
        _counted([it.place for it in said]),
        {outcome: recent[outcome] / asked for outcome in SHARES} if asked else {},
        sum(rates) if rates else None,
        _middle([it.round_trip_microseconds for it in said]),
        _counted([it.breaker for it in said]),
        _middle([it.p50_microseconds for it in said]),
        max((it.p95_microseconds / 1000 for it in said if it.p95_microseconds is not None), default=None),
        next(iter(texts)) if len(texts) == 1 else "",
        not any(it.breaker in (OPEN, FULL) for it in said) and not recent["failed"],
    )


def _class(it: DeviceReading) -> str:
    """Empty where a device said nothing."""
    if it.routing is None:
        return ""
    policy = _document(it.routing.policy)
    return str(policy.get("class", ANY_CLASS))


def _document(policy: str) -> Mapping[str, Any]:
    try:
        found = load(policy.encode(), "the policy", MOST_DOCUMENT_BYTES)
    except FormatError:
        return {}
    return found if isinstance(found, dict) else {}


def _titled(device_class: str) -> str:
    return "all devices" if device_class == ANY_CLASS else f"class {device_class}"


def _counted(words: Sequence[str]) -> str:
    """The word that all have, else each with how many have it."""
    found = Counter(words)
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{word} {count}" for word, count in found.most_common())


def _middle(microseconds: Sequence[int | None]) -> float | None:
    known = sorted(it for it in microseconds if it is not None)
    return known[len(known) // 2] / 1000 if known else None


def _level(it: Level) -> str:
    return f"{it.name} {it.level}" + ("" if it.thousandths is None else f" ({plain(it.thousandths / 1000)} {it.unit})")


def _index(levels: Sequence[str], level: str) -> int:
    """0 where there is no such level."""
    return levels.index(level) if level in levels else 0
