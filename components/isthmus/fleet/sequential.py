"""How many failures of a wave prove that a release is worse than allowed, however often one looks. Exact, no approximations. Pure.

The devices of a wave are thought of in the order in which they begin with the release. Of a release that fails on each device with
probability p, S(m) is how many of the first m devices it will fail on: a random walk that only grows. A **boundary** says: stop at k
failures among the first M(k) devices. At any moment no more failures can be *known* than will be, so whatever the delay of reports, and
whether failures are told sooner than successes, a known count reaches the boundary only if the walk does. Its probability is computed by
dynamic programming over the few m at which the boundary rises. It grows with p, so that a release at the allowed rate is the worst of the
good ones.

The shape is the maximised sequential probability ratio test's (MaxSPRT; Kulldorff et al., "A maximized sequential probability ratio test
for drug and vaccine safety surveillance", Sequential Analysis 30, 2011): flat in the likelihood ratio of the observed rate to the allowed
one, so that a release is stopped early whether it fails on all devices or on twice as many as allowed. Its critical value is the smallest
one whose boundary keeps EARLY of the wave's part of the allowed false aborts over the *known* size of the wave, by exact computation (as
Jennison and Turnbull, "Group Sequential Methods", 2000, chapter 12, do for binomial tests). The rest lowers the number that stops in any
case, which is what finds a release that is only a little worse than allowed. What is left because counts are whole goes to the next wave:
spending as Lan and DeMets ("Discrete sequential boundaries for clinical trials", Biometrika 70, 1983) do, with waves for looks.

No size needs an approximation: beyond FINE_STEPS failures the boundary rises by 1 % of itself at a time, which costs at most 1 % more
failures and leaves the computation exact.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

FALSE_ABORT = 0.05
"""Of good releases, so many are aborted by mistake at most: over all waves of a rollout and all looks."""
EARLY = 0.4
"""The part of what a wave may spend that goes into stopping early. Between 0.2 and 0.6 hardly anything changes."""
FINE_STEPS = 64
"""Up to so many failures the boundary rises one by one."""
_COARSENESS = 1.01
_FEW_STEPS = 40
"""Boundaries of so few steps waste most because counts are whole, and are quickly tried: every step is moved as far as it goes."""
_NEGLIGIBLE = 1e-18

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Boundary:
    """When to stop: at `failures[i]` failures among the first `among[i]` devices that begin. Both rise; empty: never.

    devices: of the whole wave. allowed: the failure rate that is none to stop for.
    """

    devices: int
    allowed: float
    failures: tuple[int, ...]
    among: tuple[int, ...]

    @cached_property
    def false_abort(self) -> float:
        """The probability that a release at the allowed rate is stopped."""
        return self.stops(self.allowed)

    @property
    def is_reachable(self) -> bool:
        """Whether anything stops: False where not even a failure of all devices is proof."""
        return bool(self.failures)

    def limit(self, begun: int) -> int | None:
        """The number of failures that stop when so many devices have begun; None: no number does, yet."""
        index = bisect_left(self.among, begun)
        return self.failures[index] if index < len(self.failures) and self.failures[index] <= begun else None

    @property
    def most_failures(self) -> int:
        """The number of failures that stop in any case, whoever has begun; one more than all devices where none does."""
        return self.limit(self.devices) or self.devices + 1

    def stops(self, rate: float) -> float:
        """The probability that a release with this failure rate is stopped, once all devices have said how it went."""
        return math.fsum(probability for _, probability in self._stops_at(rate)[0])

    def failures_at_stop(self, rate: float, confidence: float) -> int:
        """How many devices fail, with that confidence at most, before the wave is stopped or is over, if each report came at once."""
        stopped, alive = self._stops_at(rate)
        total = 0.0
        shares = dict(enumerate(alive))
        for failures, probability in stopped:
            shares[failures] = shares.get(failures, 0.0) + probability
        for failures in sorted(shares):
            total += shares[failures]
            if total >= confidence - 1e-12:
                return failures
        return max(shares)

    def _stops_at(self, rate: float) -> tuple[list[tuple[int, float]], Floats]:
        """(failures, probability of a stop there) for each step; and the probabilities of 0, 1, 2 … failures in the end without a stop."""
        alive, offset, begun = np.ones(1), 0, 0
        stopped = []
        for failures, among in [*zip(self.failures, self.among, strict=True), (self.devices + 1, self.devices)]:
            low, kernel = _binomial(among - begun, rate)
            alive, offset, begun = np.convolve(alive, kernel), offset + low, among
            keep = max(failures - offset, 0)
            if failures <= self.devices:
                stopped.append((failures, float(alive[keep:].sum())))
            alive = alive[:keep]
            if not len(alive) or float(alive.max()) <= _NEGLIGIBLE:
                return stopped, np.zeros(1)
            dropped = int(np.argmax(alive > _NEGLIGIBLE))
            alive, offset = alive[dropped:], offset + dropped
        return stopped, np.concatenate([np.zeros(offset), alive])


def at_most(failures: int, devices: int, rate: float) -> float:
    """The probability of so many failures or fewer."""
    low, probabilities = _binomial(devices, rate)
    return min(1.0, float(probabilities[: max(failures - low + 1, 0)].sum()))


@lru_cache(maxsize=256)
def boundary(devices: int, allowed: float, false_abort: float, early: float = EARLY) -> Boundary:
    """The boundary of a wave of so many devices: a release at the allowed rate is stopped with at most this probability.

    Args:
        allowed: failure rate, from 0 to 1. 0: the first failure stops; 1: nothing does.
        early: the part of it for early stops. 0: one number stops, and it is the lowest: for who does not know which devices have begun.
    """
    if devices < 1 or not 0 <= allowed <= 1 or not 0 < false_abort < 1:
        raise ValueError(f"{devices} devices, an allowed rate of {allowed}, {false_abort} of false aborts: out of bounds")
    if allowed == 0:
        return Boundary(devices, 0.0, (1,), (devices,))
    if allowed**devices > false_abort:
        return Boundary(devices, allowed, (), ())
    if early == 0:
        most = next(most for most in range(devices) if 1 - at_most(most, devices, allowed) <= false_abort)
        return Boundary(devices, allowed, (most + 1,), (devices,))
    lowered = _lowered(_early(devices, allowed, early * false_abort), false_abort)
    return _used_up(lowered, false_abort) if len(lowered.failures) <= _FEW_STEPS else lowered


def _early(devices: int, allowed: float, false_abort: float) -> Boundary:
    """The lowest boundary that is flat in the likelihood ratio; where none is that may be spent on, the failure of all devices."""
    best = Boundary(devices, allowed, (devices,), (devices,))
    low, high = 0.0, -devices * math.log(allowed)  # at `high` only the failure of all devices stops
    if (usual := 8 + math.log(devices)) < high and (tried := _flat(devices, allowed, usual)).false_abort <= false_abort:
        high, best = usual, tried
    precision = 1e-3 if devices > 200 else 1e-6
    while high - low > precision:
        middle = (low + high) / 2
        tried = _flat(devices, allowed, middle)
        if tried.false_abort <= false_abort:
            high, best = middle, tried
        else:
            low = middle
    return best


def _lowered(found: Boundary, false_abort: float) -> Boundary:
    """The same boundary up to the lowest of its steps that may stop in any case."""

    def cut(index: int) -> Boundary:
        return Boundary(found.devices, found.allowed, found.failures[: index + 1], (*found.among[:index], found.devices))

    low, high = 0, len(found.failures) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cut(middle).false_abort <= false_abort else (middle + 1, high)
    return cut(low)


def boundaries(
    sizes: Sequence[int], allowed: Sequence[float], false_abort: float = FALSE_ABORT, early: float = EARLY
) -> Iterator[Boundary]:
    """A boundary for each wave, so that a good release is stopped in any of them with at most this probability.

    Each wave may spend an equal part, and what the waves before it left over. early: as in `boundary`.
    """
    kept = 1.0  # the probability that a release at the allowed rates came so far
    for index, (devices, rate) in enumerate(zip(sizes, allowed, strict=True), 1):
        may_spend = 1 - (1 - false_abort * index / len(sizes)) / kept
        found = boundary(devices, rate, may_spend, early)
        kept *= 1 - found.false_abort
        yield found


def _flat(devices: int, allowed: float, critical: float) -> Boundary:
    """The boundary at which the logarithm of the likelihood ratio is `critical`."""
    most = min(devices, int(devices * allowed + math.sqrt(devices * allowed) * (2 * critical + 8) + 2 * critical + 8))
    failures = _steps(most)
    low, high = failures.copy(), failures / allowed  # the ratio falls from its largest value to 0 between them
    for _ in range(60):
        middle = (low + high) / 2
        is_proof = _log_ratio(failures, middle, allowed) >= critical
        low, high = np.where(is_proof, middle, low), np.where(is_proof, high, middle)
    among = np.minimum(np.floor(low + 1e-9), devices)
    among[_log_ratio(failures, failures, allowed) < critical] = 0
    # A coarse step is taken where the failures before it have become too few.
    kept = among > 0
    failures, among = failures[kept], among[kept]
    last = int(np.argmax(among >= devices)) + 1 if len(among) and among[-1] >= devices else len(among)
    return Boundary(devices, allowed, tuple(failures[:last].astype(int).tolist()), tuple(among[:last].astype(int).tolist()))


def _steps(most: int) -> Floats:
    steps = list(range(1, min(most, FINE_STEPS) + 1))
    while steps[-1] < most:
        steps.append(min(most, max(steps[-1] + 1, int(steps[-1] * _COARSENESS))))
    return np.asarray(steps, dtype=np.float64)


def _log_ratio(failures: Floats, among: Floats, allowed: float) -> Floats:
    """Of the observed rate to the allowed one, for an observed rate above it."""
    good = np.maximum(among - failures, 0)
    ratio = failures * np.log(failures / (among * allowed))
    return ratio + np.where(good > 0, good * np.log(np.maximum(good, 1e-300) / (among * (1 - allowed))), 0)


def _used_up(found: Boundary, false_abort: float) -> Boundary:
    """The same boundary with its steps taken as late as what may be spent allows, the last ones first: fewer failures stop."""
    failures, among = list(found.failures), list(found.among)

    def moved(index: int, to: int) -> Boundary:
        trial = [*among[:index], to, *among[index + 1 :]]
        kept = [i for i, it in enumerate(trial) if i == 0 or it > trial[i - 1]]  # a step no later than the one below it says nothing
        return Boundary(found.devices, found.allowed, tuple(failures[i] for i in kept), tuple(trial[i] for i in kept))

    for index in range(len(failures) - 2, -1, -1):
        low, high = among[index], among[index + 1]
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if moved(index, middle).false_abort <= false_abort else (low, middle - 1)
        among[index] = low
    return moved(0, among[0])


@lru_cache(maxsize=4096)
def _binomial(trials: int, rate: float) -> tuple[int, Floats]:
    """The probabilities of each number of events, from the first one that is not negligible: (that number, probabilities)."""
    if trials == 0 or rate <= 0:
        return 0, np.ones(1)
    if rate >= 1:
        return trials, np.ones(1)
    mode = min(int((trials + 1) * rate), trials)
    peak = math.lgamma(trials + 1) - math.lgamma(mode + 1) - math.lgamma(trials - mode + 1)
    peak += mode * math.log(rate) + (trials - mode) * math.log1p(-rate)
    spread = int(10 * math.sqrt(trials * rate * (1 - rate)) + 40)
    odds = rate / (1 - rate)
    above = np.arange(mode, min(mode + spread, trials))
    below = np.arange(mode, max(mode - spread, 0), -1)
    up = np.cumprod((trials - above) / (above + 1) * odds)
    down = np.cumprod(below / ((trials - below + 1) * odds))
    shape = np.concatenate([down[::-1], [1.0], up])
    return mode - len(down), shape * math.exp(peak)
