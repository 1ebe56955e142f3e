"""Floors: what breaks one is no choice, whatever is learned and explored, and floors that nothing keeps are told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import PROCESSES, process

from isthmus.errors import InputError
from isthmus.migration.learning.counting import Counted, Counting
from isthmus.migration.learning.floors import Floors, within
from isthmus.migration.learning.qlearning import Explored, SafeQ

SETTINGS = (Explored(share=1.0, most_wrong=np.inf), Explored(share=0.5, most_wrong=8.0))


@settings(deadline=None, max_examples=15)
@given(PROCESSES, st.integers(0, 2**32 - 1), st.sampled_from([*SETTINGS, "mean", "thompson", "optimistic"]))
def test_no_learner_is_ever_where_a_floor_is_broken_under_any_seed_and_whatever_it_costs(it, seed, how):
    dice = np.random.default_rng(seed)
    accuracy, late = dice.uniform(0.5, 1, it.shape), dice.uniform(0, 0.2, it.shape)
    accuracy[0], late[0] = 0.99, 0.0
    floors = Floors(least_accuracy=0.8, most_late=0.1)
    bounded = within(it, floors, accuracy, late)
    learner = SafeQ(bounded, how, seed) if isinstance(how, Explored) else Counting(bounded, Counted(how, look_steps=10), seed)
    place, cell = 0, 0
    for _ in range(60):
        chosen = learner.place(place, cell)
        assert it.allowed[chosen, cell]
        assert accuracy[chosen, cell] >= floors.least_accuracy
        assert late[chosen, cell] <= floors.most_late
        following = int(dice.integers(it.shape[1]))
        learner.saw(place, cell, chosen, float(dice.normal(0, 50)), following)
        place, cell = chosen, following


def test_without_floors_a_learner_is_where_one_would_be_broken():
    it = process(1)
    learner = SafeQ(it, SETTINGS[0], 1)
    assert len({learner.place(0, 0) for _ in range(50)}) > 1


def test_floors_that_no_place_keeps_are_told_with_every_cell_and_what_comes_nearest():
    it = process(1)
    accuracy = np.full(it.shape, 0.9)
    accuracy[:, 2] = [0.7, 0.6, 0.5]
    accuracy[:, 4] = 0.1
    with pytest.raises(InputError) as caught:
        within(it, Floors(least_accuracy=0.8), accuracy, np.zeros(it.shape))
    assert len(caught.value.problems) == 2
    assert "cell 2" in str(caught.value)
    assert "device comes nearest, with 0.7 right" in str(caught.value)


@pytest.mark.parametrize("wrong", [np.nan, 1.5, -0.1])
def test_shares_that_are_none_are_told(wrong):
    it = process(1)
    accuracy, late = np.ones(it.shape), np.zeros((2, 2))
    accuracy[1, 2] = wrong
    with pytest.raises(InputError) as caught:
        within(it, Floors(), accuracy, late)
    assert [problem.path for problem in caught.value.problems] == ["accuracy[1][2]", "late"]
