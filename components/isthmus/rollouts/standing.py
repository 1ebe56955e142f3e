"""Where a rollout stands: made from what is signed, who the devices are and what they said. Pure.

It is made anew at every look, from these three and the time alone: nobody has to remember anything to go on with a rollout.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from isthmus.fleet.gates import Gate, WaveGate, wave_gates
from isthmus.fleet.judging import Evidence, GateVerdict, Tally, judge, tally
from isthmus.fleet.signed import gate_of
from isthmus.repository.reports import Look
from isthmus.rollouts.membership import by_wave
from isthmus.rollouts.paces import due
from isthmus.rollouts.turns import TurnsStanding, began_seconds, turns_standing
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.pace import Pace, pace_draw
from isthmus_agent.formats.report import Outcome, told_digest
from isthmus_agent.formats.roster import Device, Roster

WaveState = Literal["closed", "open", "waiting", "passed", "paused", "aborted"]
"""closed: its devices have not got the release yet. open: they have, and what they say was not read. waiting: for what they say."""
MOST_NAMES: Final = 20
"""Of devices in one place of `Standing.data`; how many there are stands beside them."""


@dataclass(frozen=True)
class WaveStanding:
    """gate, verdict: None: nobody waits for this wave, or (verdict) it is closed, or nothing was read. tally: None likewise.

    elapsed_seconds: since all its devices may begin: since it was opened, or the last minute of its pace, or the last turn that came; a
    window that is closed stops that clock. pace: how many of them begin in a minute; None: all may at once.
    """

    name: str
    state: WaveState
    devices: tuple[str, ...]
    gate: Gate | None = None
    tally: Tally | None = None
    verdict: GateVerdict | None = None
    opened_seconds: int | None = None
    elapsed_seconds: float = 0.0
    pace: Pace | None = None

    def line(self) -> str:
        """Such as `wave canary: 3 of 5 confirmed, 1 on the way, 1 silent`."""
        if self.tally is None:
            return f"wave {self.name}: {self.state}, {len(self.devices)} devices"
        counts = _counts(self.tally)
        parts = [f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]]
        return ", ".join([f"wave {self.name}: {counts['confirmed']} of {len(self.devices)} confirmed", *parts])

    def data(self) -> dict[str, Any]:
        """Of JSON's types alone; see `Standing.data`."""
        return {
            "name": self.name,
            "state": self.state,
            "devices": len(self.devices),
            "opened_seconds": self.opened_seconds,
            "elapsed_seconds": self.elapsed_seconds,
            "pace": {"most_per_minute": self.pace.most_per_minute, "seconds": self.pace.seconds} if self.pace else None,
            "gate": asdict(self.gate) if self.gate else None,
            "counts": _counts(self.tally) if self.tally else None,
            "verdict": _verdict(self.verdict) if self.verdict else None,
        }


@dataclass(frozen=True)
class Group:
    """Devices that gave the same reason. example: what one of them said, printable ASCII; it is a device's text."""

    outcome: str
    reason: str
    devices: tuple[str, ...]
    example: str

    def data(self) -> dict[str, Any]:
        """Of JSON's types alone; see `Standing.data`."""
        return {"outcome": self.outcome, "reason": self.reason, "example": self.example, **_named(self.devices)}


@dataclass(frozen=True)
class Standing:
    """All about a fleet's rollout at one moment.

    at_seconds: that moment, since 1970. contents: of the release. before: of the one that devices go back to. passed_seconds: when the
    last wave had passed. is_read: whether what devices say was read; without it only what is signed is known. versions: content → on how
    many devices it was confirmed. failures, blocked: in the open waves, those with the most devices first. silent: in the open waves.
    unclear: device → why. outside: devices that no wave has. dropped: reports that did not count, by why. turns: by a budget for a label;
    None: there is none.
    """

    fleet: str
    number: int
    at_seconds: float
    contents: tuple[Variant, ...]
    before: tuple[Variant, ...]
    paused: bool
    passed_seconds: int | None
    devices: int
    waves: tuple[WaveStanding, ...]
    is_read: bool = True
    versions: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Group, ...] = ()
    blocked: tuple[Group, ...] = ()
    silent: tuple[str, ...] = ()
    unclear: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    turns: TurnsStanding | None = None

    @property
    def open_waves(self) -> tuple[WaveStanding, ...]:
        return tuple(it for it in self.waves if it.state != "closed")

    @property
    def passed_waves(self) -> int:
        """So many waves, from the first, have passed."""
        return next((index for index, it in enumerate(self.waves) if it.state != "passed"), len(self.waves))

    @property
    def verdict(self) -> GateVerdict | None:
        """Over all open waves: the last decides about the next, and every one may still abort. None: there is nothing to judge."""
        judged = [it.verdict for it in self.open_waves if it.verdict]
        return next((it for it in judged if it.outcome == "abort"), self.open_waves[-1].verdict if judged else None)

    def data(self) -> dict[str, Any]:
        """Of JSON's types alone, for pages and terminals. Times are seconds since 1970, durations seconds.

            fleet, number, at_seconds, paused, is_read, devices: as here; passed_seconds: null until the last wave has passed
            contents, before: [{class, digest, bytes}]
            waves: [{name, state, devices, opened_seconds, elapsed_seconds, pace, gate, counts, verdict}]
                devices: how many. state: closed, open, waiting, passed, paused or aborted
                pace: null, or {most_per_minute, seconds: from the opening until the last device may begin}
                gate: null, or {max_failure_percent, min_reports, soak_seconds, deadline_seconds, confidence_percent, when_unclear}
                counts: null, or {confirmed, soaking, updating, failed, blocked, unclear, silent, later}
                verdict: null, or {outcome: pass, abort, inconclusive or wait; reason: a sentence; evidence: the numbers of
                    `isthmus.fleet.judging.Evidence` by name}
            versions: [{digest, devices}], the most devices first
            failures, blocked: [{outcome, reason, example, devices, names}], the most devices first
            silent, outside: {devices, names}
            unclear: {devices, names, why: {name: a sentence}}
            dropped: {why: reports}
            turns: null, or {label, devices: that wait for their turn, values: [{value, devices, most, waiting, out}]}, of a budget for a
                label: values of which devices wait, the first 20 of those with the most. devices: that have the value; most: that may be
                unavailable at once; out: {devices, names}, who is

        Where there are `names`, `devices` counts all of them, and `names` has the first 20. All texts are printable ASCII, and yet a
        device's or a user's: escape them where characters have a meaning.
        """
        return {
            "fleet": self.fleet,
            "number": self.number,
            "at_seconds": self.at_seconds,
            "paused": self.paused,
            "passed_seconds": self.passed_seconds,
            "is_read": self.is_read,
            "devices": self.devices,
            "contents": [_content(it) for it in self.contents],
            "before": [_content(it) for it in self.before],
            "waves": [it.data() for it in self.waves],
            "versions": [{"digest": digest, "devices": count} for digest, count in self.versions.items()],
            "failures": [it.data() for it in self.failures],
            "blocked": [it.data() for it in self.blocked],
            "silent": _named(self.silent),
            "unclear": {**_named(tuple(self.unclear)), "why": dict(list(self.unclear.items())[:MOST_NAMES])},
            "outside": _named(self.outside),
            "dropped": dict(self.dropped),
            "turns": _turns(self.turns) if self.turns else None,
        }


def standing_of(
    told: Assignment, roster: Roster, look: Look | None, now_seconds: float, earlier: Mapping[int, Look] | None = None
) -> Standing:
    """Where a rollout stands.

    look: at the assignment's number; None: what devices say cannot be read here. earlier: looks at the numbers that devices keep which
    the release has not reached, by number, for the versions on the fleet and for turns.
    """
    members, outside = _members(told, roster.devices)
    looks = {} if look is None else {told.number: look, **(earlier or {})}
    turns = turns_standing(told, roster.devices, looks, now_seconds)
    waves = _waves(told, members, look, now_seconds, turns)
    base = Standing(
        fleet=told.fleet,
        number=told.number,
        at_seconds=now_seconds,
        contents=told.variants,
        before=told.before.variants if told.before else (),
        paused=told.paused,
        passed_seconds=told.passed_seconds,
        devices=len(roster.devices),
        waves=waves,
        is_read=look is not None,
        outside=outside,
        turns=turns,
    )
    if look is None:
        return base
    seen = [it.tally for it in waves if it.tally]
    return replace(
        base,
        versions=_versions(told, roster, [*looks.values()]),
        failures=_groups((device for it in seen for device in it.failed), look),
        blocked=_groups((device for it in seen for device in it.blocked), look),
        silent=tuple(sorted(device for it in seen for device in it.silent)),
        unclear={device: look.unclear[device] for device in sorted(look.unclear)},
        dropped=dict(look.dropped),
    )


def _members(told: Assignment, devices: Iterable[Device]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The devices of each wave, and those that none has."""
    found = {index: tuple(it.name for it in its) for index, its in by_wave(told, devices).items()}
    return [found.get(index, ()) for index in range(len(told.waves))], found.get(None, ())


def _waves(
    told: Assignment, members: Sequence[tuple[str, ...]], look: Look | None, now_seconds: float, turns: TurnsStanding | None
) -> tuple[WaveStanding, ...]:
    gates = [gate_of(it.gate) if it.gate else None for it in told.waves]
    judged = [(index, gate) for index, gate in enumerate(gates) if gate and members[index]]
    planned = wave_gates([(told.waves[index].name, len(members[index]), gate) for index, gate in judged])
    by_index = {index: gate for (index, _), gate in zip(judged, planned, strict=True)}
    found = []
    for index, (wave, gate) in enumerate(zip(told.waves, gates, strict=True)):
        its = WaveStanding(wave.name, "closed", members[index], gate, pace=wave.pace)
        if index < told.open_waves:
            its = replace(its, opened_seconds=told.opened_seconds[index], elapsed_seconds=_elapsed(told, index, now_seconds))
            if look is not None:
                seen = tally(members[index], look.reports, gates[index] or Gate(), look.unclear, _is_later(told, index, now_seconds, turns))
                its = _judged(told, index, replace(its, tally=seen), by_index.get(index), seen, turns=turns)
            its = replace(its, state=_state(told, index, its, is_read=look is not None))
        found.append(its)
    return tuple(found)


def _elapsed(told: Assignment, index: int, now_seconds: float) -> float:
    since_seconds = began_seconds(told, index)
    if now_seconds <= since_seconds:  # also by another machine's clock
        return 0.0
    return told.window.open_between(since_seconds, now_seconds) if told.window else now_seconds - since_seconds


def _is_later(told: Assignment, index: int, now_seconds: float, turns: TurnsStanding | None) -> Callable[[str], bool]:
    """Of a device of an open wave: whether it may not begin yet."""
    waiting = turns.waiting if turns else frozenset[str]()
    if told.waves[index].pace is None or told.passed_seconds is not None:
        return lambda device: device in waiting
    share = due(told, index, now_seconds)
    return lambda device: device in waiting or pace_draw(told.salt, device) >= share


def _judged(
    told: Assignment, index: int, its: WaveStanding, gate: WaveGate | None, seen: Tally, *, turns: TurnsStanding | None
) -> WaveStanding:
    if its.gate is None:
        return its
    if gate is None:
        return replace(its, verdict=GateVerdict(its.name, "inconclusive", _NOBODY, _NOTHING))
    # Of waves that have passed, while nobody may begin, and where more may begin now, only what devices say counts, and not their silence.
    counts_silence = index == told.open_waves - 1 and not told.paused and told.passed_seconds is None and not (turns and turns.is_due)
    elapsed = its.elapsed_seconds if counts_silence else 0.0
    found = judge(gate, seen, elapsed, seen.heard if index == told.open_waves - 1 else None)
    if turns and found.outcome == "inconclusive" and seen.later:
        found = replace(found, reason=f"{found.reason}: {turns.words()}")
    return replace(its, verdict=found)


def _state(told: Assignment, index: int, its: WaveStanding, *, is_read: bool) -> WaveState:
    """Of an open wave. A release that has come to its end is the fleet's, whatever a few devices say later."""
    if told.passed_seconds is not None:
        return "passed"
    if its.verdict and its.verdict.outcome == "abort":
        return "aborted"
    if index < told.open_waves - 1:
        return "passed"
    if told.paused:
        return "paused"
    if its.verdict is None:
        return "passed" if is_read else "open"
    return _STATES[its.verdict.outcome]


def _versions(told: Assignment, roster: Roster, looks: Sequence[Look]) -> dict[str, int]:
    """By the last look in which a device confirmed something; reports hold the beginning of a digest."""
    known = {told_digest(it.digest): it.digest for it in told.contents}
    count: Counter[str] = Counter()
    for device in roster.devices:
        said = (look.reports.get(device.name) for look in looks)
        report = next((it.report for it in said if it and it.outcome is Outcome.CONFIRMED), None)
        if report and report.digest in known:
            count[known[report.digest]] += 1
    return dict(count.most_common())


def _groups(devices: Iterable[str], look: Look) -> tuple[Group, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for device in devices:
        said = look.reports[device].report
        found.setdefault((said.outcome.value, said.reason.name.lower().replace("_", " ")), []).append(device)
    groups = [Group(outcome, reason, tuple(sorted(names)), look.reports[min(names)].reason) for (outcome, reason), names in found.items()]
    return tuple(sorted(groups, key=lambda it: (-len(it.devices), it.outcome, it.reason)))


def _counts(seen: Tally) -> dict[str, int]:
    return {key: len(getattr(seen, key)) for key in ("confirmed", *_WORDS)}


def _verdict(verdict: GateVerdict) -> dict[str, Any]:
    return {"outcome": verdict.outcome, "reason": verdict.reason, "evidence": verdict.evidence.data()}


def _content(variant: Variant) -> dict[str, Any]:
    return {"class": variant.device_class, "digest": variant.digest, "bytes": variant.bytes}


def _turns(turns: TurnsStanding) -> dict[str, Any]:
    values = [{**asdict(it), "out": _named(it.out)} for it in turns.values[:MOST_NAMES]]
    return {"label": turns.label, "devices": len(turns.waiting), "values": values}


def _named(devices: Sequence[str]) -> dict[str, Any]:
    return {"devices": len(devices), "names": list(devices[:MOST_NAMES])}


_WORDS: Final = {
    "soaking": "soaking",
    "updating": "on the way",
    "failed": "failed",
    "blocked": "blocked",
    "unclear": "unclear",
    "silent": "silent",
    "later": "not due yet",
}
_STATES: Final[Mapping[str, WaveState]] = {"pass": "passed", "abort": "aborted", "inconclusive": "paused", "wait": "waiting"}
_NOBODY: Final = "the roster has no device of this wave any more"
_NOTHING: Final = Evidence(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, 0, 0, 0.0, is_late=False)
