"""Whether a canary may take over, by what was counted on both tracks. Pure: a function of the evidence at one moment.

The rules, in the order in which they are applied:

1. A probe that is answered with NaN or infinity, or refused, fails it; so do more changed answers than `max_drift_percent`.
2. More errors than `max_error_percent` allows fail it, and more slow requests than 5 % (that is what a p95 is). Before both
   tracks have `min_requests`, the allowance is that of `min_requests`: what exceeds it then could not pass any more.
3. Before both tracks have `min_requests`, and every probe is answered: undecided; at the deadline, inconclusive. No traffic is no
   success.
4. More errors, or more refused requests, than on the stable track fail it, where Fisher's exact test says so; and a p95 that is
   longer than `max_p95_ratio` times the stable one's (and by more than LATENCY_GRACE_MS), where the binomial test says so.
5. Otherwise it passes.

Rules 1 and 2 count; only rule 4 needs statistics, and it is asked once, when the numbers are there: looking again at every poll
until a test says "worse" would send back many canaries by chance.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from isthmus.canary.drift import Drift
from isthmus.canary.evidence import Counters
from isthmus.canary.proportions import CONFIDENCE, exceeds, is_worse, p_value, upper_bound

SLOW_SHARE = 0.05
"""What may be slower than a p95."""
LATENCY_GRACE_MS = 5.0
"""A difference of two p95s up to this is the network's and the scheduler's, whatever their ratio."""

Outcome = Literal["pass", "fail", "undecided", "inconclusive"]


@dataclass(frozen=True)
class Limits:
    """What a canary has to keep; `isthmus.limits.CANARY_GATE` has the defaults.

    min_requests: on each track. max_p95_ms: None: only compared with the stable track.
    """

    min_requests: int
    max_error_percent: float
    max_p95_ms: float | None
    max_p95_ratio: float
    max_drift_percent: float


@dataclass(frozen=True)
class Evidence:
    """What is known. drift: None: no answer to the probes yet; a gate without probes gives `Drift()`."""

    stable: Counters
    canary: Counters
    drift: Drift | None


@dataclass(frozen=True)
class Verdict:
    """reasons: never empty; each a sentence with its numbers."""

    outcome: Outcome
    reasons: tuple[str, ...]


def judge(limits: Limits, evidence: Evidence, *, deadline_passed: bool = False) -> Verdict:
    """The verdict at this moment. `deadline_passed` turns "undecided" into "inconclusive" and changes nothing else."""
    certain = tuple(reason for rule in _CERTAIN for reason in rule(limits, evidence))
    if certain:
        return Verdict("fail", certain)
    missing = tuple(_missing(limits, evidence))
    if missing:
        return Verdict("inconclusive" if deadline_passed else "undecided", missing)
    worse = tuple(reason for rule in _COMPARED for reason in rule(limits, evidence))
    return Verdict("fail", worse) if worse else Verdict("pass", (_proof(evidence),))


def progress(limits: Limits, evidence: Evidence, canary_percent: int) -> str:
    """One line, such as `canary 10 %: 132 of 200 requests (stable 1204), errors 0.0 % (stable 0.0 %), p95 12 ms (stable 11 ms)`."""
    canary, stable = evidence.canary, evidence.stable
    parts = [
        f"canary {canary_percent} %: {canary.requests} of {limits.min_requests} requests (stable {stable.requests})",
        f"errors {_percent(canary.errors, canary.requests)} (stable {_percent(stable.errors, stable.requests)})",
    ]
    if canary.timed and stable.timed:
        parts.append(f"p95 {canary.quantile_ms(1 - SLOW_SHARE):g} ms (stable {stable.quantile_ms(1 - SLOW_SHARE):g} ms)")
    if evidence.drift is not None and evidence.drift.compared:
        parts.append(f"drift {evidence.drift.percent:.1f} %")
    return ", ".join(parts)


def _drift(limits: Limits, evidence: Evidence) -> Iterator[str]:
    drift = evidence.drift
    if drift is None:
        return
    yield from drift.faults
    if drift.percent > limits.max_drift_percent:
        example = f" ({drift.example})" if drift.example else ""
        yield (
            f"{drift.changed} of {drift.compared} probe inputs are answered differently than by the stable release: "
            f"{drift.percent:.1f} %, allowed {limits.max_drift_percent:g} %{example}"
        )


def _errors(limits: Limits, evidence: Evidence) -> Iterator[str]:
    canary = evidence.canary
    if _too_many(canary.errors, canary.requests, limits.max_error_percent, limits.min_requests):
        yield f"{canary.errors} errors in {canary.requests} requests: {_percent(canary.errors, canary.requests)}, " + _allowed(
            limits, canary.requests, f"{limits.max_error_percent:g} %"
        )


def _slow(limits: Limits, evidence: Evidence) -> Iterator[str]:
    canary, limit = evidence.canary, limits.max_p95_ms
    if limit is not None and _too_many(canary.slower_than(limit), canary.timed, 100 * SLOW_SHARE, limits.min_requests):
        slow = canary.slower_than(limit)
        p95 = canary.quantile_ms(1 - SLOW_SHARE)
        yield f"p95 {p95:g} ms: {slow} of {canary.timed} requests took longer than {limit:g} ms, " + _allowed(limits, canary.timed, "5 %")


def _missing(limits: Limits, evidence: Evidence) -> Iterator[str]:
    if evidence.drift is None:
        yield "the probes are not answered yet"
    for track, counted in (("canary", evidence.canary), ("stable release", evidence.stable)):
        # What failed may never get into the histogram.
        if min(counted.requests, counted.timed + counted.errors) < limits.min_requests:
            yield f"the {track} answered {counted.requests} of the {limits.min_requests} requests that a verdict needs"


def _more_errors(limits: Limits, evidence: Evidence) -> Iterator[str]:
    return _more("errors", lambda counted: counted.errors, evidence)


def _more_refused(limits: Limits, evidence: Evidence) -> Iterator[str]:
    # Clients are spread over the tracks by chance, and their own mistakes with them: the difference is the release's.
    return _more("refused requests (4xx)", lambda counted: counted.refused, evidence)


def _more(what: str, events: Callable[[Counters], int], evidence: Evidence) -> Iterator[str]:
    canary, stable = evidence.canary, evidence.stable
    counts = (events(canary), canary.requests, events(stable), stable.requests)
    if is_worse(*counts):
        yield (
            f"{what}: {counts[0]} of {counts[1]} ({_percent(*counts[:2])}), and {counts[2]} of {counts[3]} ({_percent(*counts[2:])}) by "
            f"the stable release: worse with {100 * CONFIDENCE:g} % confidence (Fisher's exact test, p = {p_value(*counts):.2g})"
        )


def _slower(limits: Limits, evidence: Evidence) -> Iterator[str]:
    canary, stable = evidence.canary, evidence.stable
    p95, reference = canary.quantile_ms(1 - SLOW_SHARE), stable.quantile_ms(1 - SLOW_SHARE)
    limit = max(limits.max_p95_ratio * reference, reference + LATENCY_GRACE_MS)
    if exceeds(canary.slower_than(limit), canary.timed, SLOW_SHARE):
        yield (
            f"p95 {p95:g} ms, and {reference:g} ms by the stable release: {canary.slower_than(limit)} of {canary.timed} requests took "
            f"longer than {limit:g} ms, more than 5 % with {100 * CONFIDENCE:g} % confidence (binomial test)"
        )


Rule = Callable[[Limits, Evidence], Iterator[str]]
_CERTAIN: tuple[Rule, ...] = (_drift, _errors, _slow)
_COMPARED: tuple[Rule, ...] = (_more_errors, _more_refused, _slower)


def _too_many(bad: int, total: int, percent: float, min_requests: int) -> bool:
    return bad * 100 > percent * max(total, min_requests)


def _allowed(limits: Limits, total: int, share: str) -> str:
    return f"allowed {share}" + (f" of the first {limits.min_requests}" if total < limits.min_requests else "")


def _proof(evidence: Evidence) -> str:
    canary, drift = evidence.canary, evidence.drift
    proof = (
        f"{canary.errors} errors in {canary.requests} requests (with {100 * CONFIDENCE:g} % confidence fewer than "
        f"{100 * upper_bound(canary.errors, canary.requests):.2g} %), p95 {canary.quantile_ms(1 - SLOW_SHARE):g} ms "
        f"(stable {evidence.stable.quantile_ms(1 - SLOW_SHARE):g} ms)"
    )
    return f"{proof}, {drift.changed} of {drift.compared} probe inputs answered differently" if drift and drift.compared else proof


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.1f} %"
