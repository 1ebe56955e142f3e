"""The gate of a wave: whether the next one may open, by what the wave's devices said until now. Pure: a function of the evidence.

The rules, in the order in which they are applied:

1. **abort**: as many devices failed as the wave's boundary (`sequential`) stops at: the release is worse than `max_failure_percent`. At
   the deadline, devices that have not said how it went are failures too.
2. **pass**: even if every device that is still undecided should fail, no more would have failed than the wave may have
   (`WaveGate.pass_limit`); and at least `min_reports` devices said how it went. Only a device that has served for `soak_seconds` is
   decided, and no wave passes before each of its devices might begin.
3. **inconclusive**: the wave can no longer pass, or nobody is left to wait for, or the turn of some has not come until the deadline, as
   others of their budget did not come back. The rollout pauses until somebody looks: devices that have not begun keep what they have, and
   what the others say may still be proof.
4. **wait** otherwise.

A wave is judged by all devices that are assigned to it: silence never makes the share of failures smaller, nor a pass easier. `blocked`
devices (a full disk, a clock) and unclear ones (one identity on two devices) say nothing about the release: they fail no wave and pass
none. The order in which reports came changes nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol

from isthmus.fleet.gates import Gate, WaveGate
from isthmus_agent.formats.report import Outcome

GateOutcome = Literal["pass", "abort", "inconclusive", "wait"]


class WaveReport(Protocol):
    """What a device said last about the rollout's release.

    seconds: since it has this outcome. is_overdue: it promised to say more by now.
    """

    @property
    def outcome(self) -> Outcome: ...
    @property
    def reason(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def is_overdue(self) -> bool: ...


@dataclass(frozen=True)
class Tally:
    """Where the devices of a wave stand; each is in exactly one of these.

    confirmed: serve the release, and have for `soak_seconds`. soaking: serve it for a shorter time. updating: on the way.
    failed, blocked: device → reason. unclear: one identity on two devices. silent: said nothing, or not what they promised to say.
    later: said nothing, and may not begin yet.
    """

    confirmed: tuple[str, ...] = ()
    soaking: tuple[str, ...] = ()
    updating: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    @property
    def heard(self) -> int:
        """Of how many it is known that they began."""
        return len(self.confirmed) + len(self.soaking) + len(self.updating) + len(self.failed)


@dataclass(frozen=True)
class Evidence:
    """The numbers behind a verdict.

    failures: that counted, with the silent ones after the deadline. stops_at: failures, among `begun` devices; None: no number does, yet.
    passes_with: failures at most.
    """

    devices: int
    confirmed: int
    soaking: int
    updating: int
    failed: int
    blocked: int
    unclear: int
    silent: int
    failures: int
    begun: int
    stops_at: int | None
    passes_with: int
    min_reports: int
    elapsed_seconds: float
    is_late: bool
    later: int = 0

    def data(self) -> dict[str, object]:
        """Of JSON's types alone."""
        return asdict(self)


@dataclass(frozen=True)
class GateVerdict:
    """reason: a sentence with its numbers."""

    wave: str
    outcome: GateOutcome
    reason: str
    evidence: Evidence


def tally(
    devices: Sequence[str],
    reports: Mapping[str, WaveReport],
    gate: Gate,
    unclear: Collection[str] = (),
    is_later: Callable[[str], bool] = lambda _: False,
) -> Tally:
    """Where these devices stand. Reports of other devices do not count.

    Args:
        unclear: devices whose identity was seen twice.
        is_later: whether a device that said nothing may not begin yet.
    """
    found: dict[str, list[str]] = {"confirmed": [], "soaking": [], "updating": [], "unclear": [], "silent": [], "later": []}
    failed, blocked = {}, {}
    for device in devices:
        report = reports.get(device)
        if device in unclear:
            found["unclear"].append(device)
        elif report is None:
            found["later" if is_later(device) else "silent"].append(device)
        elif report.outcome.is_against_release:  # final, however old
            failed[device] = report.reason or "it gave no reason"
        elif report.outcome is Outcome.BLOCKED:
            blocked[device] = report.reason or "it gave no reason"
        elif report.is_overdue:
            found["silent"].append(device)
        elif report.outcome is Outcome.CONFIRMED:
            found["confirmed" if report.seconds >= gate.soak_seconds else "soaking"].append(device)
        else:
            found["updating"].append(device)
    return Tally(failed=failed, blocked=blocked, **{key: tuple(names) for key, names in found.items()})


def judge(wave: WaveGate, seen: Tally, elapsed_seconds: float, begun: int | None = None) -> GateVerdict:
    """The verdict at this moment.

    Args:
        elapsed_seconds: since each of the wave's devices may begin.
        begun: how many of the wave's devices may have begun with the release by now, for an earlier stop; None: all of them, which is
            always right. It must count every device that failed, and the order of beginning must have nothing to do with how it goes:
            those that are due by a signed schedule, or `Tally.heard` where devices say that they begin.
    """
    is_late = elapsed_seconds >= wave.gate.deadline_seconds
    waiting = len(seen.silent) + len(seen.updating)
    failures = len(seen.failed) + (waiting if is_late else 0)
    undecided = len(seen.soaking) + len(seen.later) + (0 if is_late else waiting)
    began = wave.devices if is_late or begun is None else min(max(begun, failures), wave.devices)
    asked = wave.devices - len(seen.blocked) - len(seen.unclear)
    evidence = Evidence(
        devices=wave.devices,
        confirmed=len(seen.confirmed),
        soaking=len(seen.soaking),
        updating=len(seen.updating),
        failed=len(seen.failed),
        blocked=len(seen.blocked),
        unclear=len(seen.unclear),
        silent=len(seen.silent),
        failures=failures,
        begun=began,
        stops_at=wave.boundary.limit(began),
        passes_with=wave.pass_limit(asked),
        min_reports=wave.min_reports,
        elapsed_seconds=elapsed_seconds,
        is_late=is_late,
        later=len(seen.later),
    )
    return GateVerdict(wave.wave, *_outcome(wave, evidence, undecided), evidence)


def judge_open(waves: Sequence[WaveGate], seen: Sequence[Tally], elapsed_seconds: Sequence[float], begun: int | None = None) -> GateVerdict:
    """The verdict over all open waves: the last decides about the next, and every one may still abort: devices also fail late.

    Of waves that passed only what devices say counts, not their silence. That a wave is looked at for longer spends nothing: its boundary
    is for all that its devices will ever say. The last three arguments: as in `judge`, `begun` of the last wave.
    """
    before = [judge(wave, it, elapsed_seconds=0) for wave, it in zip(waves[:-1], seen[:-1], strict=True)]
    last = judge(waves[-1], seen[-1], elapsed_seconds[-1], begun)
    return next((verdict for verdict in (*before, last) if verdict.outcome == "abort"), last)


def _outcome(wave: WaveGate, seen: Evidence, undecided: int) -> tuple[GateOutcome, str]:
    counted = f"{seen.failures} of {seen.devices} devices failed"
    if lost := seen.failures - seen.failed:
        counted += f", {lost} of them by silence until the deadline"
    if seen.stops_at is not None and seen.failures >= seen.stops_at:
        among = "" if seen.begun == seen.devices else f" while {seen.begun} had begun"
        chance = 100 * wave.boundary.false_abort
        return "abort", (
            f"{counted}{among}; {seen.stops_at} prove that the release fails on more than {wave.gate.max_failure_percent:g} % "
            f"(one that keeps it is stopped here in {chance:.2g} % of all rollouts)"
        )
    reports = seen.confirmed + seen.failed
    has_reports = reports >= seen.min_reports
    if has_reports and not seen.later and seen.failures + undecided <= seen.passes_with:
        rest = f", {undecided} undecided" if undecided else ""
        return "pass", f"{counted}{rest}; {seen.passes_with} may; {reports} said how it went"
    aside = seen.blocked + seen.unclear
    may_pass = seen.failures <= (seen.passes_with if seen.is_late else wave.pass_limit(seen.devices))  # who is blocked tries again
    if may_pass and seen.is_late and seen.later:
        return "inconclusive", f"{counted}; for {seen.later} devices the turn has not come until the deadline"
    if may_pass and (undecided or (aside and not seen.is_late)):
        known = f"{seen.updating} on the way, {seen.soaking} soaking, {seen.silent} silent, {aside} blocked or unclear"
        known += f", {seen.later} may not begin yet" if seen.later else ""
        return "wait", f"{counted}; waiting for {undecided + aside} ({known})"
    if may_pass and not has_reports:
        known = f"{seen.blocked} are blocked, {seen.unclear} unclear"
        return "inconclusive", f"{reports} devices said how it went, at least {seen.min_reports} must; {known}"
    proof = "no number would be proof yet" if seen.stops_at is None else f"{seen.stops_at} would be proof"
    return "inconclusive", f"{counted}: more than the {max(seen.passes_with, 0)} with which the wave passes; {proof}"
