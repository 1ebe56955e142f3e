"""What each threshold passes on, and gains."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from isthmus.offload.rows import deviation, row_at, rows_of
from isthmus.release.confidences import Group

COUNTS = st.tuples(*[st.integers(0, 20)] * 4).filter(any)


@st.composite
def all_groups(draw: st.DrawFn) -> list[Group]:
    """The least sure first."""
    bounds = sorted(draw(st.sets(st.integers(1, 10**6), min_size=2, max_size=40)))
    pairs = list(zip(bounds[::2], bounds[1::2], strict=False))
    return [Group(least / 10**6, most / 10**6, *draw(COUNTS)) for least, most in pairs]


@given(all_groups())
def test_the_share_grows_with_the_threshold(groups: list[Group]) -> None:
    rows = rows_of(groups)
    assert rows[0].threshold == rows[0].offloaded == 0
    assert all(one.threshold < other.threshold and one.offloaded < other.offloaded for one, other in pairwise(rows))
    assert all(0 <= row.share < 1 and 0 <= row.accuracy <= 1 for row in rows)


@given(all_groups())
def test_each_row_is_what_counting_says(groups: list[Group]) -> None:
    for row in rows_of(groups):
        asked = [group for group in groups if group.most < row.threshold]
        kept = [group for group in groups if group.least >= row.threshold]
        assert len(asked) + len(kept) == len(groups)
        assert row.right == sum(it.both + it.serving for it in asked) + sum(it.both + it.edge for it in kept)
        assert row.offloaded == sum(it.examples for it in asked)
        assert row.kept_wrong == sum(it.serving + it.neither for it in kept)
        assert row.gain == pytest.approx(row.accuracy - rows_of(groups)[0].accuracy)


@given(all_groups())
def test_the_gain_lies_in_its_interval(groups: list[Group]) -> None:
    for row in rows_of(groups):
        low, high = row.gain_interval
        assert -1 <= low < high <= 1
        assert low <= row.gain <= high


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 400))
def test_the_interval_is_of_two_proportions_of_the_same_examples(gained: int, lost: int, examples: int) -> None:
    """Per example the difference is +1, −1 or 0; with half an example more in each of the four cells this is its standard error."""
    parts, total = (gained + 0.5, lost + 0.5), examples + 2
    mean = (parts[0] - parts[1]) / total
    variance = sum(parts) / total - mean**2
    assert deviation(gained, lost, examples) == pytest.approx(math.sqrt(variance / total))


def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    """Exact coverage of 200 examples of which 3 % are gained and 1 % lost: a sum over the multinomial, where it has weight."""
    gain, lose, examples, held = 0.03, 0.01, 200, 0.0
    for gained in range(20):
        for lost in range(12):
            weight = stats.multinomial.pmf([gained, lost, examples - gained - lost], examples, [gain, lose, 1 - gain - lose])
            middle, half = (gained - lost) / (examples + 2), 1.959964 * deviation(gained, lost, examples)
            held += weight * (middle - half <= gain - lose <= middle + half)
    assert 0.93 < held < 0.99


def test_a_threshold_that_is_given_is_the_nearest_row_that_passes_on_no_more() -> None:
    rows = rows_of([Group(0.2, 0.2, 1, 0, 0, 0), Group(0.6, 0.8, 1, 0, 0, 0), Group(0.9, 0.9, 1, 0, 0, 0)])
    assert [row.threshold for row in rows] == [0.0, 0.4, 0.85]
    assert [row_at(rows, it) for it in (0.0, 0.3, 0.4, 0.7, 0.85, 1.0)] == [0, 0, 1, 1, 2, 2]
