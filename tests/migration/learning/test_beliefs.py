"""Beliefs come to the truth, follow it when it moves, and say when it has moved."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import PROCESSES, process

from isthmus.migration.learning.beliefs import Beliefs, Change, Dirichlet, Memory, marginal
from isthmus.migration.process import product_transition


def draw(matrix, steps, seed):
    """Cells by a matrix."""
    dice, cells = np.random.default_rng(seed), [0]
    sums = np.cumsum(matrix, axis=1)
    for step in dice.random(steps):
        cells.append(min(int(np.searchsorted(sums[cells[-1]], step)), len(matrix) - 1))
    return cells


def taught(beliefs, cells):
    for cell, following in itertools.pairwise(cells):
        beliefs.add(cell, following)
    return beliefs


def off(found, truth):
    return float(np.abs(found - truth).sum(axis=1).mean())


@pytest.mark.parametrize("memory", [Memory(), Memory(factored=True)])
def test_the_posterior_mean_comes_to_the_truth(memory):
    it = process(1, levels=(3, 2))
    truth = product_transition([np.full((3, 3), 0.1) + 0.7 * np.eye(3), np.array([[0.6, 0.4], [0.2, 0.8]])])
    before, few, many = (off(taught(Beliefs(it, [memory]), draw(truth, steps, 3)).mean(), truth) for steps in (0, 300, 10_000))
    assert before > few > many
    assert many < 0.06


def test_two_dimensions_that_move_together_are_believed_by_the_memory_that_counts_whole_cells():
    it = process(1, levels=(2, 2))
    together = np.full((4, 4), 0.005)
    for cell, following in ((0, 3), (3, 0), (1, 0), (2, 3)):
        together[cell, following] = 0.985
    beliefs = taught(Beliefs(it, [Memory(), Memory(factored=True)]), draw(together, 600, 1))
    assert beliefs.shares[0] > 0.9
    assert off(beliefs.mean()[[0, 3]], together[[0, 3]]) < 0.2  # where the cells mostly are


@settings(deadline=None, max_examples=15)
@given(PROCESSES, st.lists(st.integers(0, 5), min_size=2, max_size=40), st.integers(0, 9))
def test_whatever_is_seen_beliefs_are_stochastic_and_hold_nothing_for_impossible(it, seen, seed):
    cells = [cell % it.shape[1] for cell in seen]
    beliefs = taught(Beliefs(it), cells)
    for matrix in (beliefs.mean(), beliefs.drawn(np.random.default_rng(seed))):
        assert np.allclose(matrix.sum(axis=1), 1)
        assert (matrix >= 0).all()
    assert (beliefs.mean() > 0).all()
    assert beliefs.shares.sum() == pytest.approx(1)
    assert 0 < beliefs.add(cells[-1], cells[0]) <= 1 + 1e-9


def test_the_order_of_what_was_seen_makes_no_difference_without_forgetting():
    it = process(2)
    seen = [(0, 1), (1, 2), (0, 1), (2, 0), (0, 0)]
    found = []
    for order in (seen, seen[::-1]):
        table = Dirichlet(it.transition, 5.0)
        for pair in order:
            table.add(*pair)
        found.append(table.mean())
    assert np.array_equal(*found)


def test_draws_of_the_posterior_are_around_its_mean():
    table = Dirichlet(process(2, levels=(3,)).transition, 5.0)
    for pair in [(0, 1)] * 10:
        table.add(*pair)
    dice = np.random.default_rng(0)
    assert np.allclose(np.mean([table.drawn(dice) for _ in range(2000)], axis=0), table.mean(), atol=0.02)


def test_what_fades_follows_a_truth_that_moves_and_what_does_not_lags_behind():
    it = process(1, levels=(2,))
    first, second = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.2, 0.8], [0.8, 0.2]])
    cells = draw(first, 3000, 1) + draw(second, 400, 2)
    lasting, fading, mixed = (taught(Beliefs(it, memories), cells) for memories in ([Memory()], [Memory(50.0)], [Memory(), Memory(50.0)]))
    assert off(fading.mean(), second) < 0.4 < off(lasting.mean(), second)
    assert mixed.shares[1] > 0.9
    assert off(mixed.mean(), second) < 0.4


def test_a_model_that_is_true_is_rarely_refuted_and_one_that_is_not_soon():
    truth = process(1, levels=(2,)).transition
    moved = truth[:, ::-1]
    steps_between = 500.0
    alarms, steps = 0, 0
    for seed in range(10):
        beliefs, change = Beliefs(process(1, levels=(2,))), Change(truth, steps_between)
        cells = draw(truth, 500, seed)
        for cell, following in itertools.pairwise(cells):
            steps += 1
            if change.saw(cell, following, beliefs.add(cell, following)):
                alarms += 1
                change = Change(truth, steps_between)
    assert alarms <= 2 * steps / steps_between
    beliefs, change = Beliefs(process(1, levels=(2,))), Change(truth, steps_between)
    cells = draw(moved, 300, 1)
    found = [change.saw(cell, following, beliefs.add(cell, following)) for cell, following in itertools.pairwise(cells)]
    assert 0 < found.index(True) < 150


def test_a_model_for_which_something_is_impossible_is_refuted_when_it_happens():
    change = Change(np.eye(2), 1000.0)
    assert change.saw(0, 1, 0.01)
    assert math.isfinite(change.evidence)


def test_a_product_has_its_factors_as_marginals():
    parts = [np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.5, 0.5], [0.1, 0.9]])]
    it = process(1, levels=(2, 2))
    whole = type(it)(it.places, it.dimensions, product_transition(parts), it.serving_cost, it.moving_cost, it.allowed, it.discount)
    for index, part in enumerate(parts):
        assert np.allclose(marginal(whole, index), part)
