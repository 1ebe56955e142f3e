"""Who is away is asked less and less, and nobody waits for him."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, FULL_SPREAD, LEAST_FULL_SECONDS, MOST_PAUSE_SECONDS
from isthmus_agent.server.breaker import MOST_FAILURES, Breaker, May


def failed(breaker: Breaker, times: int = MOST_FAILURES, now: float = 0.0) -> None:
    for _ in range(times):
        assert breaker.may(now) is May.ASK
        breaker.failed(now, was_try=False)


def test_some_failures_in_a_row_begin_a_pause_and_one_try_ends_it():
    breaker = Breaker(lambda: 0.5)
    failed(breaker, MOST_FAILURES - 1)
    breaker.well()
    failed(breaker)
    assert breaker.is_open
    assert breaker.may(FIRST_PAUSE_SECONDS - 0.01) is May.NOTHING
    assert breaker.may(FIRST_PAUSE_SECONDS) is May.TRY
    assert breaker.may(FIRST_PAUSE_SECONDS) is May.NOTHING  # one at a time
    breaker.well()
    assert breaker.may(FIRST_PAUSE_SECONDS) is May.ASK


def test_each_try_that_fails_makes_the_pause_longer_up_to_a_bound():
    breaker, now, pauses = Breaker(lambda: 0.5), 0.0, []
    failed(breaker)
    for _ in range(8):
        began = now
        while breaker.may(now) is May.NOTHING:
            now += 0.5
        pauses.append(now - began)
        breaker.failed(now, was_try=True)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert pauses[-1] == MOST_PAUSE_SECONDS


def test_failures_of_what_was_asked_before_the_pause_make_it_no_longer():
    breaker = Breaker(lambda: 0.5)
    failed(breaker)
    for _ in range(20):
        breaker.failed(1.0, was_try=False)
    assert breaker.may(FIRST_PAUSE_SECONDS) is May.TRY


def test_devices_that_failed_together_do_not_come_back_together():
    early, late = Breaker(lambda: 0.0), Breaker(lambda: 1.0)
    failed(early)
    failed(late)
    assert early.may(0.75 * FIRST_PAUSE_SECONDS) is May.TRY
    assert late.may(1.25 * FIRST_PAUSE_SECONDS - 0.01) is May.NOTHING


def pause_seconds(breaker: Breaker, now: float) -> float:
    """How long it is left alone from then on, to the nearest hundredth."""
    for hundredths in range(0, 12_000):
        if breaker.may(now + hundredths / 100) is not May.NOTHING:
            return hundredths / 100
    raise AssertionError("for ever")


def test_who_is_full_is_left_alone_for_as_long_as_it_says_and_has_not_failed():
    breaker = Breaker(lambda: 0.0)
    for _ in range(2 * MOST_FAILURES):
        breaker.full(0.0, 7.0)
    assert not breaker.is_open
    assert breaker.is_full
    assert breaker.may(6.99) is May.NOTHING
    assert breaker.may(7.0) is May.ASK
    breaker.well()
    assert not breaker.is_full


def test_a_breaker_that_took_it_for_a_failure_would_be_open():
    """The broken variant."""
    breaker = Breaker(lambda: 0.0)
    for _ in range(MOST_FAILURES):
        breaker.failed(0.0, was_try=False)
    assert breaker.is_open


@given(st.floats(allow_nan=False), st.floats(0, 1))
def test_no_word_of_anybody_makes_the_pause_shorter_or_longer_than_the_bounds(seconds, draw):
    breaker = Breaker(lambda: draw)
    breaker.full(0.0, seconds)
    asked = min(max(seconds, LEAST_FULL_SECONDS), MOST_PAUSE_SECONDS)
    assert asked - 0.01 <= pause_seconds(breaker, 0.0) <= (1 + FULL_SPREAD) * asked + 0.01


def test_full_time_after_time_is_asked_less_and_less_up_to_a_bound():
    breaker, now, pauses = Breaker(lambda: 0.0), 0.0, []
    for _ in range(6):
        breaker.full(now, 5.0)
        pauses.append(pause_seconds(breaker, now))
        now += pauses[-1]
    assert pauses == pytest.approx([5, 10, 20, 40, 60, 60], abs=0.02)
    breaker.well()
    breaker.full(now, 5.0)
    assert pause_seconds(breaker, now) == pytest.approx(5, abs=0.02)


def test_devices_that_were_sent_away_together_do_not_come_back_together():
    back = []
    for draw in (0.0, 0.25, 0.5, 0.75, 1.0):
        breaker = Breaker(lambda draw=draw: draw)
        breaker.full(0.0, 8.0)
        back.append(pause_seconds(breaker, 0.0))
    assert back == pytest.approx([8, 9, 10, 11, 12], abs=0.02)


def test_a_try_that_finds_the_cloud_full_ends_the_outage_and_waits_all_the_same():
    breaker = Breaker(lambda: 0.5)
    failed(breaker)
    assert breaker.may(FIRST_PAUSE_SECONDS) is May.TRY
    breaker.full(FIRST_PAUSE_SECONDS, 4.0)
    assert not breaker.is_open
    assert breaker.may(FIRST_PAUSE_SECONDS + 4.9) is May.NOTHING
    assert breaker.may(FIRST_PAUSE_SECONDS + 5.0) is May.ASK


def test_not_a_number_does_no_harm_either():
    breaker = Breaker(lambda: 0.0)
    breaker.full(0.0, math.nan)
    assert pause_seconds(breaker, 0.0) <= MOST_PAUSE_SECONDS
