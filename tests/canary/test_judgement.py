import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.canary.drift import Drift
from isthmus.canary.evidence import Counters
from isthmus.canary.judgement import Evidence, Limits, judge, progress

LIMITS = Limits(min_requests=200, max_error_percent=1.0, max_p95_ms=50.0, max_p95_ratio=1.5, max_drift_percent=5.0)


def counted(requests: int, errors: int = 0, refused: int = 0, ms: float = 10.0) -> Counters:
    return Counters(requests, errors, refused, {ms: requests} if requests else {})


def evidence(canary: Counters, stable: Counters | None = None, drift: Drift | None = Drift(8)) -> Evidence:  # noqa: B008
    return Evidence(stable if stable is not None else counted(1800), canary, drift)


@st.composite
def counters(draw: st.DrawFn, max_requests: int = 1000) -> Counters:
    requests = draw(st.integers(0, max_requests))
    errors = draw(st.integers(0, requests))
    refused = draw(st.integers(0, requests - errors))
    slow = draw(st.integers(0, requests))
    return Counters(requests, errors, refused, {edge: n for edge, n in ((10.0, requests - slow), (80.0, slow)) if n})


def test_a_canary_like_the_stable_release_passes_and_says_what_that_proves() -> None:
    verdict = judge(LIMITS, evidence(counted(200)))
    assert verdict.outcome == "pass"
    assert verdict.reasons == (
        "0 errors in 200 requests (with 95 % confidence fewer than 1.5 %), p95 10 ms (stable 10 ms), 0 of 8 probe inputs answered "
        "differently",
    )


@given(counters())
def test_nothing_different_passes_once_there_is_enough_and_the_limits_hold(both: Counters) -> None:
    limits = dataclasses.replace(LIMITS, max_error_percent=100, max_p95_ms=None)
    outcome = judge(limits, evidence(both, both)).outcome
    assert outcome == ("pass" if both.requests >= limits.min_requests else "undecided")


@given(counters(), counters(), st.booleans())
def test_it_never_passes_with_too_few_requests_on_either_track(stable: Counters, canary: Counters, late: bool) -> None:
    verdict = judge(LIMITS, evidence(canary, stable), deadline_passed=late)
    if min(stable.requests, canary.requests) < LIMITS.min_requests:
        assert verdict.outcome in ({"fail", "inconclusive"} if late else {"fail", "undecided"})
    assert verdict.reasons


@given(counters(), counters(), st.integers(1, 20))
def test_more_errors_never_turn_a_failure_into_a_pass(stable: Counters, canary: Counters, more: int) -> None:
    worse = dataclasses.replace(canary, errors=min(canary.requests, canary.errors + more))
    if judge(LIMITS, evidence(canary, stable)).outcome == "fail":
        assert judge(LIMITS, evidence(worse, stable)).outcome == "fail"


@given(counters(), counters())
def test_the_deadline_changes_no_verdict_but_undecided(stable: Counters, canary: Counters) -> None:
    before, after = (judge(LIMITS, evidence(canary, stable), deadline_passed=late) for late in (False, True))
    assert after.reasons == before.reasons
    assert after.outcome == ("inconclusive" if before.outcome == "undecided" else before.outcome)


@given(st.integers(0, 199), st.integers(0, 199))
def test_it_fails_early_exactly_where_it_could_not_pass_any_more(requests: int, errors: int) -> None:
    errors = min(errors, requests)
    early = judge(LIMITS, evidence(counted(requests, errors))).outcome
    # The best that can still happen: every request from now on succeeds.
    best = judge(dataclasses.replace(LIMITS), evidence(counted(200, errors), counted(1800, 18))).outcome
    if early == "fail":
        assert best == "fail"
    assert early == ("fail" if errors > 2 else "undecided")


@pytest.mark.parametrize(
    ("canary", "stable", "reason"),
    [
        (counted(200, 3), None, "3 errors in 200 requests: 1.5 %, allowed 1 %"),
        (counted(50, 3), None, "3 errors in 50 requests: 6.0 %, allowed 1 % of the first 200"),
        (counted(1000, 9), counted(9000, 9), "errors: 9 of 1000 (0.9 %), and 9 of 9000 (0.1 %) by the stable release: worse with 95 %"),
        (counted(200, 0, 20), counted(1800, 0, 36), "refused requests (4xx): 20 of 200 (10.0 %), and 36 of 1800 (2.0 %)"),
        (counted(200, ms=60), None, "p95 60 ms: 200 of 200 requests took longer than 50 ms, allowed 5 %"),
        (counted(20, ms=60), None, "p95 60 ms: 20 of 20 requests took longer than 50 ms, allowed 5 % of the first 200"),
        (counted(200, ms=40), None, "p95 40 ms, and 10 ms by the stable release: 200 of 200 requests took longer than 15 ms"),
    ],
)
def test_each_rule_fails_with_its_numbers(canary: Counters, stable: Counters | None, reason: str) -> None:
    verdict = judge(LIMITS, evidence(canary, stable))
    assert verdict.outcome == "fail"
    assert reason in verdict.reasons[0]


def test_few_errors_more_than_the_stable_release_are_chance() -> None:
    assert judge(LIMITS, evidence(counted(1000, 2), counted(9000, 9))).outcome == "pass"


def test_a_difference_of_a_few_milliseconds_is_none() -> None:
    assert judge(LIMITS, evidence(counted(200, ms=6), counted(1800, ms=2))).outcome == "pass"
    assert judge(LIMITS, evidence(counted(200, ms=8), counted(1800, ms=2))).outcome == "fail"


def test_drift_fails_before_the_first_request() -> None:
    nothing = Counters()
    assert judge(LIMITS, evidence(nothing, nothing, Drift(8, 1, example="example 3"))).reasons == (
        "1 of 8 probe inputs are answered differently than by the stable release: 12.5 %, allowed 5 % (example 3)",
    )
    assert judge(LIMITS, evidence(nothing, nothing, Drift(100, 5))).outcome == "undecided"
    assert judge(LIMITS, evidence(nothing, nothing, Drift(8, 0, ("NaN",)))).outcome == "fail"


def test_probes_without_an_answer_are_waited_for_and_no_success() -> None:
    assert judge(LIMITS, evidence(counted(500), drift=None)).outcome == "undecided"
    verdict = judge(LIMITS, evidence(counted(500), drift=None), deadline_passed=True)
    assert (verdict.outcome, verdict.reasons) == ("inconclusive", ("the probes are not answered yet",))


def test_times_that_the_gateway_has_not_written_down_yet_are_waited_for() -> None:
    untimed = Counters(200, 0, 0, {10.0: 150})
    assert judge(LIMITS, evidence(untimed)).outcome == "undecided"
    # A request that timed out is an error and never gets a time.
    assert judge(LIMITS, evidence(Counters(200, 2, 0, {10.0: 198}), counted(1800, 9))).outcome == "pass"


def test_the_progress_line_has_both_sides() -> None:
    line = progress(LIMITS, evidence(counted(132, ms=12), counted(1204, ms=11), Drift(8)), 10)
    assert line == "canary 10 %: 132 of 200 requests (stable 1204), errors 0.0 % (stable 0.0 %), p95 12 ms (stable 11 ms), drift 0.0 %"
    assert progress(LIMITS, evidence(Counters(), Counters(), Drift()), 10).endswith("errors 0.0 % (stable 0.0 %)")
