"""Rollouts simulated by the thousand: a release of a known kind, devices that report in their own time, and a rule that looks at them.

Every rule sees the same devices: when each begins, whether and how the release fails on it, when its report is there. A wave's streams
begin when the rule opens the wave, and do not depend on when that is. What a rule decides are two moments of each wave, in looks since
it was opened: when the next wave opens, and when the rollout is stopped.

A device is **hurt** if the release fails on it and it began before the stop. Everything is vectorised over rollouts; arrays have the shape
(rollouts, looks), or (rollouts,).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.fleet.gates import WaveGate

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEVER = 10**9
"""Of a moment that does not come, in looks."""


@dataclass(frozen=True)
class Release:
    """A kind of release.

    fails, dies, fails_late: the share of devices on which it fails its trial, on which it ends all reports, and on which it fails after it
    was confirmed. by_wave: factors of all three for each wave; empty: 1. is_good: whether it keeps what is allowed.
    """

    name: str
    fails: float
    dies: float = 0.0
    fails_late: float = 0.0
    by_wave: tuple[float, ...] = ()
    is_good: bool = False


@dataclass(frozen=True)
class Times:
    """How a fleet behaves; all in seconds, the means of exponential times unless it says more.

    look: between two looks. spread: over which the devices of a wave begin, evenly. failing: until a failure of the trial is told.
    probation: until a success can be told, and confirming: after that. late: over which late failures come, evenly, after the
    confirmation. lost: the share of devices whose report that they began is lost. timeout: of one device, where a rule has such a thing.
    """

    look: float = 60
    spread: float = 3600
    failing: float = 20
    probation: float = 60
    confirming: float = 20
    late: float = 1200
    lost: float = 0.02
    timeout: float = 3600
    soak: float = 300
    deadline: float = 7200

    @property
    def looks(self) -> int:
        """Until everything of a wave has happened."""
        return int((self.deadline + self.soak + self.late + 600) / self.look) + 1


@dataclass(frozen=True)
class Looks:
    """What can be known at each look of a wave; all (rollouts, looks), and never falling but for `soaking` and `settled`.

    heard: devices that said anything. failed: of trials, as told. failed_late: after a confirmation, as told. confirmed: once.
    soaking, settled: confirmed, not failed since, for less and for at least the soak time. timed_out: began long ago, never said more.
    hurt: began, and the release fails on them sooner or later (nobody knows this but the simulator).
    """

    devices: int
    heard: Counts
    failed: Counts
    failed_late: Counts
    confirmed: Counts
    soaking: Counts
    settled: Counts
    timed_out: Counts
    hurt: Counts


@dataclass(frozen=True)
class Decision:
    """In looks since the wave was opened, (rollouts,); NEVER: not at all. is_pause: where a stop only keeps what is as it is."""

    advances: Counts
    stops: Counts
    is_pause: Flags


class Rule(Protocol):
    """How one updater decides."""

    @property
    def name(self) -> str: ...

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        """before: final counts of the waves before it, (rollouts,): `done`, `failed`, `heard`."""
        ...


@dataclass
class Result:
    """Over all rollouts: hurt and minutes are arrays, (rollouts,). stalled: never stopped, and never at the end of all waves."""

    hurt: list[Counts] = field(default_factory=list)
    stopped: list[Flags] = field(default_factory=list)
    paused: list[Flags] = field(default_factory=list)
    stalled: list[Flags] = field(default_factory=list)
    minutes: list[NDArray[np.float64]] = field(default_factory=list)

    def share(self, what: str) -> float:
        """Of the rollouts, for `stopped`, `paused` or `stalled`."""
        return float(np.concatenate(getattr(self, what)).mean())

    @property
    def mean_hurt(self) -> float:
        """Devices a rollout."""
        return float(np.concatenate(self.hurt).mean())

    @property
    def mean_minutes(self) -> float:
        """From the first wave's opening to the stop, over the rollouts that were stopped."""
        known = np.concatenate(self.minutes)[np.concatenate(self.stopped) | np.concatenate(self.paused)]
        return float(known.mean()) if len(known) else float("nan")


@dataclass(frozen=True)
class Trial:
    """What is simulated. sizes: devices of each wave."""

    release: Release
    sizes: Sequence[int]
    times: Times = Times()


def simulate(rules: Sequence[Rule], trial: Trial, *, rollouts: int, seed: int, chunk: int = 1000) -> dict[str, Result]:
    """The result of each rule, by its name, over the same rollouts."""
    results = {rule.name: Result() for rule in rules}
    for start in range(0, rollouts, chunk):
        dice = np.random.default_rng([seed, start])
        for rule, found in zip(rules, _chunk(rules, trial, min(chunk, rollouts - start), dice), strict=True):
            hurt, stop, is_pause, is_over = found
            result = results[rule.name]
            result.hurt.append(hurt)
            result.stopped.append((stop < NEVER) & ~is_pause)
            result.paused.append((stop < NEVER) & is_pause)
            result.stalled.append((stop >= NEVER) & ~is_over)
            result.minutes.append(np.where(stop < NEVER, stop, 0) * trial.times.look / 60)
    return results


def _chunk(rules: Sequence[Rule], trial: Trial, rollouts: int, dice: np.random.Generator) -> list[tuple[Counts, Counts, Flags, Flags]]:
    """For each rule: hurt devices, look of the stop, whether it was a pause, and whether all waves were opened and passed."""
    states = [_Progress(rollouts) for _ in rules]
    for wave in range(len(trial.sizes)):
        alive = np.flatnonzero(np.any([state.opens < NEVER for state in states], axis=0))
        if not len(alive):
            break
        looks = _looks(trial, wave, len(alive), dice)
        for rule, state in zip(rules, states, strict=True):
            state.take(rule, wave, looks, alive, trial.times)
    return [state.found() for state in states]


class _Progress:
    """One rule's rollouts, wave by wave."""

    def __init__(self, rollouts: int) -> None:
        self.opens: Counts = np.zeros(rollouts, dtype=np.int64)  # of the wave that is next
        self._stop: Counts = np.full(rollouts, NEVER)
        self._is_pause: Flags = np.zeros(rollouts, dtype=bool)
        self._waves: list[tuple[Counts, Counts, Counts]] = []  # rollouts, when opened, hurt by look
        self._before = {key: np.zeros(rollouts, dtype=np.int64) for key in ("done", "failed", "heard")}

    def take(self, rule: Rule, wave: int, looks: Looks, alive: Counts, times: Times) -> None:
        here = self.opens[alive]
        decision = rule.decide(wave, looks, {key: count[alive] for key, count in self._before.items()}, times)
        is_open = here < NEVER
        stop = np.where(is_open & (decision.stops < NEVER), here + decision.stops, NEVER)
        sooner = stop < self._stop[alive]
        self._is_pause[alive] = np.where(sooner, decision.is_pause, self._is_pause[alive])
        self._stop[alive] = np.minimum(stop, self._stop[alive])
        self._waves.append((alive, here, looks.hurt))
        advances = np.where(is_open & (decision.advances < NEVER), here + decision.advances, NEVER)
        self.opens[:] = NEVER
        self.opens[alive] = np.where(advances < self._stop[alive], advances, NEVER)
        self._before["done"][alive] += looks.failed[:, -1] + looks.confirmed[:, -1] + looks.timed_out[:, -1]
        self._before["failed"][alive] += looks.failed[:, -1] + looks.timed_out[:, -1]
        self._before["heard"][alive] += looks.heard[:, -1]

    def found(self) -> tuple[Counts, Counts, Flags, Flags]:
        hurt = np.zeros(len(self._stop), dtype=np.int64)
        for alive, opened, by_look in self._waves:
            until = np.clip(self._stop[alive] - opened, 0, by_look.shape[1] - 1)
            was_open = (opened < NEVER) & (opened <= self._stop[alive])
            hurt[alive] += np.where(was_open, by_look[np.arange(len(alive)), until], 0)
        return hurt, self._stop, self._is_pause, self.opens < NEVER


def _looks(trial: Trial, wave: int, rollouts: int, dice: np.random.Generator) -> Looks:
    release, times, devices = trial.release, trial.times, trial.sizes[wave]
    factor = release.by_wave[wave] if release.by_wave else 1.0
    shape = (rollouts, devices)
    kind = dice.random(shape)
    fails = kind < release.fails * factor
    dies = ~fails & (kind < (release.fails + release.dies) * factor)
    late = ~fails & ~dies & (kind < (release.fails + release.dies + release.fails_late) * factor)
    begins = dice.random(shape) * times.spread
    delay = dice.standard_exponential(shape)
    told = np.where(fails, begins + delay * times.failing, begins + times.probation + delay * times.confirming)
    told[dies] = np.inf
    again = np.where(late, told + dice.random(shape) * times.late, np.inf)
    says = np.where(dice.random(shape) < times.lost, told, begins)
    confirmed = np.where(fails, np.inf, told)
    settles = np.where(again > confirmed + times.soak, confirmed + times.soak, np.inf)

    def count(at: NDArray[np.float64]) -> Counts:
        """How many of these moments lie at or before each look."""
        look = np.ceil(np.minimum(at / times.look, times.looks)).astype(np.int64)
        flat = look + np.arange(rollouts)[:, None] * (times.looks + 1)
        counted = np.bincount(flat.ravel(), minlength=rollouts * (times.looks + 1)).reshape(rollouts, times.looks + 1)
        result: Counts = counted[:, : times.looks].cumsum(axis=1)
        return result

    failed_late = count(again)
    settled = count(settles) - count(np.where(settles < np.inf, again, np.inf))
    confirmations = count(confirmed)
    return Looks(
        devices=devices,
        heard=count(says),
        failed=count(np.where(fails, told, np.inf)),
        failed_late=failed_late,
        confirmed=confirmations,
        soaking=confirmations - failed_late - settled,
        settled=settled,
        timed_out=count(np.where(dies, begins + times.timeout, np.inf)),
        hurt=count(np.where(fails | dies | late, begins, np.inf)),
    )


@dataclass(frozen=True)
class Gated:
    """The gates of `fleet.gates`. knows_begun: whether it is told who has begun; else everybody may have."""

    name: str
    waves: Sequence[WaveGate]
    knows_begun: bool = True

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        """As `fleet.judging.judge` at each look, and after the pass as `judge_open` goes on."""
        gate = self.waves[wave]
        devices = looks.devices
        is_late = np.arange(looks.heard.shape[1]) * times.look >= gate.gate.deadline_seconds
        said = looks.failed + looks.failed_late
        waiting = devices - said - looks.soaking - looks.settled
        failures = said + np.where(is_late, waiting, 0)
        undecided = looks.soaking + np.where(is_late, 0, waiting)
        stops_at = np.array([gate.boundary.limit(begun) or NEVER for begun in range(devices + 1)])
        begun = np.maximum(looks.heard, failures) if self.knows_begun else np.full_like(failures, devices)
        begun = np.where(is_late, devices, begun)
        aborts = failures >= stops_at[begun]
        passes = (failures + undecided <= gate.pass_limit(devices)) & (looks.settled + said >= gate.min_reports) & ~aborts
        unclear = ((undecided == 0) | (failures > gate.pass_limit(devices))) & ~passes & ~aborts
        abort, passed, pause = first(aborts), first(passes), first(unclear)
        is_pause = (pause < abort) & (pause < passed)
        goes_on = (passed < abort) & (passed < pause)
        late_abort = first(said >= stops_at[devices])
        stops = np.where(is_pause, pause, np.where(goes_on, late_abort, abort))
        return Decision(np.where(goes_on, passed, NEVER), stops, is_pause)


def first(flags: Flags) -> Counts:
    """The first look at which something is so; NEVER where it is at none."""
    return np.where(flags.any(axis=1), flags.argmax(axis=1), NEVER)
