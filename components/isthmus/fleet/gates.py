"""The gate of a wave: what it has to keep, and when it stops or passes. Pure.

`judging` says what follows from what the wave's devices said.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from isthmus.errors import InputError, Problem, property_path
from isthmus.fleet.sequential import EARLY, FALSE_ABORT, Boundary, at_most, boundaries
from isthmus.limits import FLEET_GATE
from isthmus_agent.formats.gate import WhenUnclear

LEAST_PAUSE = 0.0001
"""What the last waves may spend of it, though the first ones spent all: else no number would be unusual there."""
_RATES = 24
_AROUND = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5)


@dataclass(frozen=True)
class Gate:
    """What a wave has to keep; `isthmus.limits.FLEET_GATE` has the bounds.

    min_reports: None: half of the wave. confidence_percent: with which a pass shows that no more than `max_failure_percent` fail; None:
    what was counted is enough. when_unclear: whether more failures than a release makes that fails on half of `max_failure_percent` pause
    the wave before they are proof, or nothing but proof stops it.
    """

    max_failure_percent: float = FLEET_GATE["max_failure_percent"].default
    min_reports: int | None = None
    soak_seconds: float = FLEET_GATE["soak_seconds"].default
    deadline_seconds: float = FLEET_GATE["deadline_seconds"].default
    confidence_percent: float | None = None
    when_unclear: WhenUnclear = "pause"

    @property
    def allowed(self) -> float:
        """The failure rate that a release may have."""
        return self.max_failure_percent / 100


@dataclass(frozen=True)
class WaveGate:
    """A gate and the wave that it is for. boundary: of failures that stop it. may_pause: in what share of all rollouts the wave may pause
    a release that fails on half of what is allowed."""

    wave: str
    gate: Gate
    boundary: Boundary
    may_pause: float = FALSE_ABORT

    @property
    def devices(self) -> int:
        """How many are assigned to the wave."""
        return self.boundary.devices

    @property
    def min_reports(self) -> int:
        """How many devices must have said how it went."""
        return math.ceil(self.devices / 2) if self.gate.min_reports is None else self.gate.min_reports

    def pass_limit(self, devices: int) -> int:
        """With how many failures among so many devices the wave passes at most; -1: with none."""
        most = (self.boundary.limit(devices) or devices + 1) - 1
        if self.gate.when_unclear == "pause":
            most = min(most, max(math.floor(devices * self.gate.allowed + 1e-9), self._usual(devices)))
        if self.gate.confidence_percent is None:
            return most
        doubt = 1 - self.gate.confidence_percent / 100
        # At most so many by chance where the rate is the allowed one: then it is lower (Clopper and Pearson's bound).
        while most >= 0 and at_most(most, devices, self.gate.allowed) > doubt:
            most -= 1
        return most

    @property
    def pauses_half(self) -> float:
        """In what share of all rollouts a release that fails on half of what is allowed fails on more devices than the wave passes with."""
        return 1 - at_most(self.pass_limit(self.devices), self.devices, self.gate.allowed / 2)

    def _usual(self, devices: int) -> int:
        """How many failures a release that fails on half of what is allowed hardly ever exceeds: to the letter, a small wave passes with
        none, and a good release would be paused by a single one."""
        half = self.gate.allowed / 2
        most = math.floor(devices * half)
        while 1 - at_most(most, devices, half) > self.may_pause:
            most += 1
        return most

    @cached_property
    def stopping(self) -> Boundary:
        """What aborts or pauses the wave: the boundary, or that it can no longer pass."""
        most = self.pass_limit(self.devices) + 1
        if most >= self.boundary.most_failures:
            return self.boundary
        below = [step for step in zip(self.boundary.failures, self.boundary.among, strict=True) if step[0] < most]
        failures, among = zip(*below, (most, self.devices), strict=True)
        return replace(self.boundary, failures=failures, among=among)

    def most_hurt(self, confidence: float = 1 - FALSE_ABORT, unreported: int = 0) -> int:
        """On how many devices of the wave a release fails at most before it is stopped, with that confidence, whatever its failure rate.

        Args:
            unreported: devices that may have begun without having said how it went when the gate looks; each of them may fail.
        """
        least = max(self.gate.allowed, 1 / (2 * self.devices))
        rates = [least ** (step / _RATES) for step in range(_RATES + 1)]
        rates += [min(1.0, self.stopping.most_failures / self.devices * factor) for factor in _AROUND]
        return min(self.devices, max(self.stopping.failures_at_stop(rate, confidence) for rate in rates) + unreported)

    def found_percent(self, confidence: float = 1 - FALSE_ABORT) -> float:
        """The smallest failure rate, in percent, at which the wave is aborted with that confidence; more than 100 where none is."""
        if self.boundary.stops(1.0) < confidence:
            return math.inf
        low, high = self.gate.allowed, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (low, middle) if self.boundary.stops(middle) >= confidence else (middle, high)
        return 100 * high

    def stopped_percent(self, failure_percent: float) -> float:
        """In how many of 100 rollouts a release that fails on so many percent does not pass this wave, if all devices say how it goes."""
        return 100 * self.stopping.stops(failure_percent / 100)

    def explain(self, unreported: int = 0) -> str:
        """One line, for a preview. unreported: as in `most_hurt`."""
        first, among, limit = self.boundary.failures[0], self.boundary.among[0], self.pass_limit(self.devices)
        half = self.gate.max_failure_percent / 2
        missed, hurt = self.stopped_percent(half), self.most_hurt(unreported=unreported)
        return (
            f"{self.wave}: {self.devices} device{'s' * (self.devices > 1)}; passes with {limit} failures at most, which a release that "
            f"fails on {half:g} % misses in {missed:.2g} %; aborted by {first} among the first {among}, and by "
            f"{self.boundary.most_failures} in any case, which finds one that fails on {self.found_percent():.3g} %; "
            f"at most {hurt} hurt (95 % confidence)"
        )


def plan_gates(waves: Sequence[tuple[str, int, Gate]], path: str = "waves", *, knows_begun: bool = True) -> tuple[WaveGate, ...]:
    """The gates of a rollout's waves, given as (name, devices, gate): together they abort a good release in 5 % of all rollouts at most.

    Raises InputError with everything that is wrong with them: numbers out of bounds, gates that can never pass or never abort, and waves
    that are too small for the confidence asked. The path of a gate is `waves[i].gate`.

    Args:
        knows_begun: whether `judge` will be told who has begun. Gates hold what they promise whatever is said here; the right word makes
            them find more.
    """
    places = [f"{property_path([index], path)}.gate" for index in range(len(waves))]
    problems = [problem for (_, _, gate), where in zip(waves, places, strict=True) for problem in out_of_bounds(gate, where)]
    if problems:
        raise InputError(problems)
    planned = wave_gates(waves, knows_begun=knows_begun)
    problems = [problem for wave, where in zip(planned, places, strict=True) for problem in never(wave, where, FALSE_ABORT / len(planned))]
    if problems:
        raise InputError(problems)
    return planned


def wave_gates(waves: Sequence[tuple[str, int, Gate]], *, knows_begun: bool = True) -> tuple[WaveGate, ...]:
    """As `plan_gates`, of a rollout that was planned before: its devices may have become so few that a gate can never pass, or abort."""
    early = EARLY if knows_begun else 0
    found = boundaries([devices for _, devices, _ in waves], [gate.allowed for _, _, gate in waves], early=early)
    left, planned = FALSE_ABORT, []
    for (name, _, gate), boundary in zip(waves, found, strict=True):
        # The first waves take what they need: the earlier a wave pauses, the fewer devices are hurt.
        planned.append(wave := WaveGate(name, gate, boundary, left))
        left = max(left - wave.pauses_half, LEAST_PAUSE)
    return tuple(planned)


def out_of_bounds(gate: Gate, where: str) -> Iterator[Problem]:
    """The gate's numbers that are none of `FLEET_GATE`."""
    for name, limit in FLEET_GATE.items():
        value = getattr(gate, name)
        if value is not None and not limit.allows(value):
            yield Problem(f"{where}.{name}", f"found {value:g}", limit.range)


def never(wave: WaveGate, where: str, may_spend: float) -> Iterator[Problem]:
    """What of a gate can never happen. may_spend: of false aborts, by this wave."""
    gate, devices = wave.gate, wave.devices
    if gate.deadline_seconds <= gate.soak_seconds:
        what = f"is {gate.deadline_seconds:g} s, and no device counts before it served for {gate.soak_seconds:g} s"
        yield Problem(f"{where}.deadline_seconds", what, "more than `soak_seconds`", "raise it, or soak for a shorter time")
    if wave.min_reports > devices:
        what = f"the wave can never pass: it asks for {wave.min_reports} reports and has {devices} devices"
        yield Problem(f"{where}.min_reports", what, f"{devices} at most", "lower it, or make the wave larger")
    if not wave.boundary.is_reachable:
        needed = math.ceil(math.log(may_spend) / math.log(gate.allowed) - 1e-9)
        what = f"the gate can never abort: of a release that keeps {gate.max_failure_percent:g} %, all {devices} devices may fail by chance"
        most = math.floor(1e5 * may_spend ** (1 / devices)) / 1000
        fix = f"make the wave at least {needed} devices, or `max_failure_percent` {most:g} at most"
        yield Problem(f"{where}.max_failure_percent", what, "a limit that so few devices can show to be broken", fix)
    if gate.confidence_percent is None:
        return
    doubt = 1 - gate.confidence_percent / 100
    if gate.allowed == 0:
        yield Problem(
            f"{where}.confidence_percent", "no number of devices shows that none will ever fail", fix="leave it out, or allow some"
        )
    elif wave.pass_limit(devices) < 0:
        needed = math.ceil(math.log(doubt) / math.log1p(-gate.allowed) - 1e-9)
        shown = 100 * (1 - doubt ** (1 / devices))
        what = (
            f"the wave can never pass: {devices} devices without a failure show, with {gate.confidence_percent:g} % confidence, only that "
            f"fewer than {shown:.3g} % fail"
        )
        fix = f"make the wave larger, or `max_failure_percent` {shown:.3g}, or leave `confidence_percent` out"
        yield Problem(f"{where}.confidence_percent", what, f"at least {needed} devices for {gate.max_failure_percent:g} %", fix)
