"""Intervals by their published values, and strength as the inverse of accuracy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.fusion.measures import difference, share, strength


def test_a_share_has_wilsons_interval():
    found = share(np.arange(10) < 8)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert share(np.ones(10, bool)).low == pytest.approx(0.7225, abs=1e-4)


def test_a_difference_of_pairs_has_agresti_and_mins_interval():
    # Of 1,144 pairs 132 differ one way and 107 the other: Wald's interval is (-0.005, 0.048).
    found = difference(np.repeat([1.0, -1.0, 0.0], [132, 107, 905]))
    assert found.value == pytest.approx(25 / 1144)
    assert (found.low, found.high) == pytest.approx((-0.0046, 0.0482), abs=2e-4)


def test_no_difference_in_few_examples_is_not_certain():
    found = difference(np.zeros(20))
    assert found.value == 0
    assert found.low < -0.05
    assert found.high > 0.05


@given(st.floats(-1, 1), st.integers(1, 50))
def test_an_interval_of_equal_differences_holds_what_was_drawn_towards_nothing(value, count):
    found = difference(np.full(count, value))
    assert -1 <= found.low <= value * count / (count + 2) <= found.high <= 1


@pytest.mark.parametrize(("distance", "classes"), [(0.5, 2), (1.0, 10), (2.0, 10), (3.0, 4)])
def test_strength_is_the_squared_distance_that_gives_the_accuracy(distance, classes):
    random = np.random.default_rng(3)
    said = random.normal(size=(200_000, classes))
    said[:, 0] += distance
    accuracy = float((said.argmax(axis=1) == 0).mean())
    assert strength(accuracy, classes) == pytest.approx(distance**2, rel=0.03, abs=0.02)


def test_chance_and_less_have_no_strength_and_more_right_answers_more():
    assert strength(0.1, 10) == strength(0.02, 10) == 0
    assert 0 < strength(0.2, 10) < strength(0.5, 10) < strength(0.99, 10) < strength(1.0, 10) <= 144
