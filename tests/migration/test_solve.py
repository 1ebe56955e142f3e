"""The best policy, against every policy there is, against another program, and against its own bound."""

import itertools
from dataclasses import replace

import mdpsolver
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import PROCESSES, process

from isthmus.migration import solve as module
from isthmus.migration.process import Choices, Numbers, Process
from isthmus.migration.solve import evaluate, solution_of, solve, with_margin


def by_definition(made: Process, next_place: Choices) -> Numbers:
    """The value by the full matrix over all states: the definition, with nothing factored."""
    places, cells = made.shape
    matrix, cost = np.zeros((places * cells,) * 2), np.zeros(places * cells)
    for place, cell in np.ndindex(places, cells):
        after = next_place[place, cell]
        cost[place * cells + cell] = made.moving_cost[place, after, cell] + made.serving_cost[after, cell]
        matrix[place * cells + cell, after * cells : (after + 1) * cells] = made.transition[cell]
    found: Numbers = np.linalg.solve(np.eye(places * cells) - made.discount * matrix, cost).reshape(places, cells)
    return found


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.95]))
def test_no_policy_of_all_there_are_is_cheaper_anywhere(seed: int, discount: float) -> None:
    made = process(seed, places=("device", "cloud"), levels=(2, 2), discount=discount)
    best = solve(made)
    choices = [np.flatnonzero(made.allowed[:, cell]) for _ in range(2) for cell in range(4)]
    for policy in itertools.product(*choices):
        assert (best.value <= by_definition(made, np.array(policy).reshape(2, 4)) + 1e-7).all()


@settings(deadline=None, max_examples=10)
@given(PROCESSES)
def test_another_solver_finds_the_same_values(made: Process) -> None:
    places, cells = made.shape
    serving = np.where(made.allowed, made.serving_cost, 1e7)  # so dear that it is forbidden
    costs = made.moving_cost.transpose(0, 2, 1) + serving.T[None]
    rewards = (-costs).reshape(places * cells, places).tolist()
    columns = [[[after * cells + it for it in range(cells)] for after in range(places)] for _ in range(places * cells)]
    chances = [[made.transition[cell].tolist() for _ in range(places)] for _, cell in np.ndindex(places, cells)]
    other = mdpsolver.model()
    other.mdp(discount=made.discount, rewards=rewards, tranMatProbs=chances, tranMatColumns=columns)
    other.solve(algorithm="pi", tolerance=1e-9, verbose=False)
    theirs = -np.array(other.getValueVector()).reshape(places, cells)
    np.testing.assert_allclose(solve(made).value, theirs, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(PROCESSES, st.integers(0, 2**32 - 1))
def test_what_any_policy_costs_is_what_the_definition_says(made: Process, seed: int) -> None:
    dice = np.random.default_rng(seed)
    policy = np.array([[dice.choice(np.flatnonzero(made.allowed[:, cell])) for cell in range(made.shape[1])] for _ in made.places])
    np.testing.assert_allclose(evaluate(made, policy), by_definition(made, policy), rtol=1e-9, atol=1e-9)


def test_sweeps_and_the_linear_system_find_the_same_value(monkeypatch: pytest.MonkeyPatch) -> None:
    made = process(7, levels=(4, 3, 2), discount=0.99)
    best = solve(made)
    monkeypatch.setattr(module, "MOST_SOLVED", 0)
    np.testing.assert_allclose(evaluate(made, best.next_place), best.value, rtol=1e-10)
    assert solve(made).misses < 1e-6


@settings(deadline=None, max_examples=40)
@given(PROCESSES)
def test_the_best_policy_is_certified_and_its_value_solves_the_equation(made: Process) -> None:
    best = solve(made)
    assert best.misses <= 1e-5
    np.testing.assert_allclose(evaluate(made, best.next_place), best.value, rtol=1e-9, atol=1e-9)
    assert made.allowed[best.next_place, np.arange(made.shape[1])].all()


@settings(deadline=None, max_examples=40)
@given(PROCESSES, st.integers(0, 2**32 - 1))
def test_what_a_policy_is_said_to_miss_at_most_it_does_not_exceed(made: Process, seed: int) -> None:
    dice = np.random.default_rng(seed)
    policy = np.array([[dice.choice(np.flatnonzero(made.allowed[:, cell])) for cell in range(made.shape[1])] for _ in made.places])
    any_policy = solution_of(made, policy)
    assert (any_policy.value - solve(made).value).max() <= any_policy.misses + 1e-6


@settings(deadline=None, max_examples=40)
@given(PROCESSES, st.sampled_from([0.0, 0.5, 5.0, 1e6]))
def test_a_margin_costs_what_it_says_at_most_and_forbids_what_gains_less(made: Process, margin: float) -> None:
    best = solve(made)
    steady = with_margin(made, best, margin)
    assert (steady.value - best.value).max() <= margin / (1 - made.discount) + 1e-6
    assert (steady.value >= best.value - 1e-7).all()
    stays = np.arange(len(made.places))[:, None]
    assert (steady.next_place != stays).sum() <= (best.next_place != stays).sum()
    if margin == 1e6:
        assert (steady.next_place == stays)[made.allowed].all()


def test_where_all_places_are_equal_staying_wins() -> None:
    made = process(3)
    level = replace(
        made,
        serving_cost=np.ones(made.shape),
        moving_cost=np.zeros(made.moving_cost.shape),
        allowed=np.ones(made.shape, dtype=bool),
    )
    best = solve(level)
    np.testing.assert_array_equal(best.next_place, np.repeat(np.arange(3)[:, None], made.shape[1], axis=1))
    np.testing.assert_allclose(best.value, 1 / (1 - made.discount))


def test_a_policy_that_goes_where_it_may_not_has_no_value() -> None:
    made = process(3)
    closed = replace(made, allowed=np.array([[True] * 6, [False] * 6, [True] * 6]))
    with pytest.raises(ValueError, match="may not run"):
        evaluate(closed, np.ones((3, 6), dtype=np.intp))
    assert (solve(closed).next_place != 1).all()
