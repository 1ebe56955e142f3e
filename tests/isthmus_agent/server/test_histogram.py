"""Quantiles out of bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.server.histogram import Histogram


def test_of_nothing_nothing_is_known():
    assert Histogram().quantile(95) is None


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=100), st.integers(1, 100))
def test_a_quantile_is_off_by_a_few_percent_at_most(values, percent):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    right = sorted(values)[-(-len(values) * percent // 100) - 1]
    assert abs(histogram.quantile(percent) - right) <= 0.035 * right + 0.5


def test_what_is_beyond_counts_as_the_longest():
    histogram = Histogram()
    histogram.add(2**60)
    assert histogram.quantile(50) > 2**31
