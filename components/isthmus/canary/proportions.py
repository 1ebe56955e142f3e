"""What a share that was counted says about the share behind it: exact tests, no approximations. Pure.

Errors are rare, and the approximations by a normal distribution are worst where events are rare; so these are the exact
ones: Clopper and Pearson's bound, the binomial tail, Fisher's test. All are one-sided: only "worse" is asked about.
"""

import math
from collections.abc import Iterable, Iterator

CONFIDENCE = 0.95
"""Of every bound and test here. An equal pair is called worse by mistake in at most 1 - CONFIDENCE of all cases."""

_NEGLIGIBLE = 1e-17


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The share that is not exceeded with that confidence (Clopper and Pearson). 0 of 30: 0.095. Without trials: 1."""
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def exceeds(events: int, trials: int, share: float, confidence: float = CONFIDENCE) -> bool:
    """Whether the true share is larger than `share`, with that confidence (exact binomial test)."""
    if trials == 0 or events <= trials * share:
        return False
    return _at_least(events, trials, share) < 1 - confidence


def is_worse(events: int, trials: int, other_events: int, other_trials: int, confidence: float = CONFIDENCE) -> bool:
    """Whether the events are more frequent here than there, with that confidence (Fisher's exact test)."""
    return p_value(events, trials, other_events, other_trials) < 1 - confidence


def p_value(events: int, trials: int, other_events: int, other_trials: int) -> float:
    """How likely at least so many of all events would fall here if both sides were equal. 1 where this side is not worse."""
    if trials == 0 or other_trials == 0 or events * other_trials <= other_events * trials:
        return 1.0
    every, all_events = trials + other_trials, events + other_events
    whole = _log_choose(every, all_events)
    terms = (
        math.exp(_log_choose(trials, k) + _log_choose(other_trials, all_events - k) - whole)
        for k in range(events, min(trials, all_events) + 1)
    )
    return min(1.0, math.fsum(_until_negligible(terms)))  # beyond the mean, each term is smaller than the one before


def _at_most(events: int, trials: int, share: float) -> float:
    """P(X ≤ events) for a share above events / trials: the terms fall from `events` downwards."""
    return math.fsum(_until_negligible(_binomial(k, trials, share) for k in range(events, -1, -1)))


def _at_least(events: int, trials: int, share: float) -> float:
    """P(X ≥ events) for a share below events / trials: the terms fall from `events` upwards."""
    return math.fsum(_until_negligible(_binomial(k, trials, share) for k in range(events, trials + 1)))


def _binomial(events: int, trials: int, share: float) -> float:
    if share <= 0 or share >= 1:
        return float(events == (trials if share >= 1 else 0))
    return math.exp(_log_choose(trials, events) + events * math.log(share) + (trials - events) * math.log1p(-share))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _until_negligible(terms: Iterable[float]) -> Iterator[float]:
    """Falling terms, as long as they add something."""
    total = 0.0
    for term in terms:
        yield term
        total += term
        if term <= total * _NEGLIGIBLE:
            return
