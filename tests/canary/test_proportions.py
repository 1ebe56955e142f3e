import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from isthmus.canary.proportions import exceeds, is_worse, p_value, upper_bound

counts = st.integers(0, 2000)


def test_no_failure_in_thirty_proves_only_less_than_ten_percent() -> None:
    assert upper_bound(0, 30) == pytest.approx(0.0950, abs=5e-4)
    assert upper_bound(0, 300) == pytest.approx(0.00994, abs=5e-5)
    assert upper_bound(0, 0) == 1.0


@given(counts, counts)
def test_the_bound_is_clopper_and_pearsons(events: int, more: int) -> None:
    trials = events + more
    assume(trials > 0)
    expected = stats.binomtest(events, trials, alternative="less").proportion_ci(0.95, "exact").high
    assert upper_bound(events, trials) == pytest.approx(expected, rel=1e-6)


@given(counts, counts, counts, counts)
def test_the_p_value_is_fishers(bad: int, good: int, other_bad: int, other_good: int) -> None:
    trials, other_trials = bad + good, other_bad + other_good
    assume(trials and other_trials and bad * other_trials > other_bad * trials)
    expected = stats.fisher_exact([[bad, good], [other_bad, other_good]], alternative="greater").pvalue
    assert p_value(bad, trials, other_bad, other_trials) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(counts, counts, st.floats(0.001, 0.9))
def test_the_binomial_test_is_exact(events: int, more: int, share: float) -> None:
    trials = events + more
    assume(trials > 0)
    p = stats.binomtest(events, trials, share, alternative="greater").pvalue
    assume(abs(p - 0.05) > 1e-6)
    assert exceeds(events, trials, share) == (p < 0.05)


@given(counts, counts)
def test_equal_sides_are_never_told_apart(events: int, more: int) -> None:
    assert not is_worse(events, events + more, events, events + more)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_one_more_error_never_makes_a_side_better(trials: int, other_trials: int, data: st.DataObject) -> None:
    events, other = data.draw(st.integers(0, trials - 1)), data.draw(st.integers(0, other_trials))
    assert p_value(events + 1, trials, other, other_trials) <= p_value(events, trials, other, other_trials) + 1e-12


def test_millions_of_requests_are_judged_at_once() -> None:
    assert p_value(60_000, 5_000_000, 540_000, 45_000_000) == 1.0
    assert is_worse(61_000, 5_000_000, 540_000, 45_000_000)
    assert upper_bound(60_000, 5_000_000) == pytest.approx(0.01208, abs=1e-5)
