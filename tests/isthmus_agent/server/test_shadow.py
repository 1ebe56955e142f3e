"""How far predictions are from those of the version before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.server.shadow import distance_millionths

TABLE = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
NUMBERS = np.array([[1.0], [2.0], [4.0], [7.0]], np.float32)
TEXTS = np.array([b"cat", b"dog", b"dog"], object)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (TABLE, TABLE, 0),
        (TABLE, TABLE[:, ::-1], 200_000),  # the mean rows are 0.6, 0.4 and 0.4, 0.6
        (np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 1_000_000),
        (TABLE, np.array([[1 / 3] * 3] * 3, np.float32), 1_000_000),
        (NUMBERS, NUMBERS, 0),
        (NUMBERS, NUMBERS[::-1], 0),
        (NUMBERS, NUMBERS + 2, 500_000),  # by as much as they used to vary: 2
        (NUMBERS, NUMBERS + 6, 750_000),
        (np.array([[3.0]]), np.array([[3.5]]), 1_000_000),  # one that never varied
        (NUMBERS, NUMBERS * np.nan, 1_000_000),
        (NUMBERS * np.nan, NUMBERS * np.nan, 0),
        (NUMBERS, NUMBERS[:2], 1_000_000),
        (np.array([[1], [2]]), np.array([[1.0], [2.0]]), 0),
        (TEXTS, TEXTS[::-1], 0),
        (TEXTS, np.array([b"cat", b"cat", b"cow"], object), 666_667),
        (TEXTS, np.array([1.0, 2.0, 3.0]), 1_000_000),
        (np.array([True, False]), np.array([True, True]), 500_000),
    ],
)
def test_the_distance_is_by_what_the_output_is(before, after, wanted):
    assert distance_millionths({"y": before}, {"y": after}) == pytest.approx(wanted, abs=1)


def test_the_output_that_moved_most_counts_and_others_than_before_are_no_answer():
    both = {"y": TABLE, "z": NUMBERS}
    assert distance_millionths(both, {"y": TABLE, "z": NUMBERS + 2}) == 500_000
    assert distance_millionths(both, {"y": TABLE}) == 1_000_000
    assert distance_millionths({}, {"y": TABLE}) == 1_000_000


@given(st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=20), st.floats(0.1, 10))
def test_the_unit_of_numbers_does_not_matter_and_nothing_is_further_than_one(pairs, unit):
    before, after = (np.array(it, np.float64)[:, None] for it in zip(*pairs, strict=True))
    found = distance_millionths({"y": before}, {"y": after})
    assert 0 <= found <= 1_000_000
    assert distance_millionths({"y": before * unit}, {"y": after * unit}) == pytest.approx(found, abs=2)
