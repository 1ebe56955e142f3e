"""Who is away is asked less and less, and nobody waits for him."""

from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS
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
