"""The learner that counts: the plan's policy where the plan is right, far better where it isn't, and it solves only where that pays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import PROCESSES, process

from isthmus.migration.learning import simulate
from isthmus.migration.learning.backups import choice_costs, foreseeing, losses
from isthmus.migration.learning.counting import Counted, Counting
from isthmus.migration.learning.optimism import distances, kindest, optimistic
from isthmus.migration.learning.stream import stream
from isthmus.migration.learning.traces import traces
from isthmus.migration.solve import evaluate, solve

STREAM = stream()
PLANNED, UNPLANNED, *_, SUDDEN = traces(1500)[:6]


def excess(truth, next_place):
    best = solve(truth).value
    return float(evaluate(truth, next_place).mean() / best.mean() - 1)


def test_where_the_plan_is_right_it_is_within_a_percent_of_the_best_and_hardly_solves_again():
    learner = Counting(STREAM.process)
    simulate.learned(STREAM, simulate.drawn(STREAM, PLANNED, 1), learner)
    assert excess(STREAM.process, learner.policy) < 0.01
    assert learner.solved <= 3


def test_where_the_plan_is_wrong_it_comes_within_a_percent_of_the_best_that_one_could_know():
    truth = replace(STREAM.process, transition=UNPLANNED.matrices[0])
    learner = Counting(STREAM.process)
    assert excess(truth, learner.policy) > 0.1
    simulate.learned(STREAM, simulate.drawn(STREAM, UNPLANNED, 1), learner)
    assert excess(truth, learner.policy) < 0.01


@pytest.mark.parametrize("choice", ["mean", "thompson"])
def test_after_a_sudden_change_it_costs_less_than_the_policy_that_stays(choice):
    drawn = simulate.drawn(STREAM, SUDDEN, 2)
    fixed = simulate.chosen_by(STREAM, drawn, solve(STREAM.process).next_place)
    learned, _ = simulate.learned(STREAM, drawn, Counting(STREAM.process, Counted(choice=choice), seed=1))
    assert learned[900:].mean() < 0.95 * fixed[900:].mean()


def test_a_learner_is_the_same_again_with_the_same_seed():
    drawn = simulate.drawn(STREAM, SUDDEN, 2)
    runs = [simulate.learned(STREAM, drawn, Counting(STREAM.process, Counted(choice="thompson"), seed=5))[1] for _ in range(2)]
    assert np.array_equal(*runs)


def test_it_solves_more_rarely_the_more_a_solution_costs():
    drawn = simulate.drawn(STREAM, SUDDEN, 2)
    solved = []
    for cost in (0.0, 1e9):
        learner = Counting(STREAM.process, Counted(solve_cost=cost, false_alarm_steps=1e300))
        simulate.learned(STREAM, drawn, learner)
        solved.append(learner.solved)
    assert solved[0] > solved[1] == 1


@settings(deadline=None, max_examples=20)
@given(PROCESSES)
def test_the_best_policy_loses_nothing_by_its_next_choice_and_no_other_gains(it):
    solution = solve(it)
    assert losses(it, it.transition, solution.value, solution.next_place).max() == pytest.approx(0, abs=1e-4)
    first = np.repeat(it.allowed.argmax(axis=0)[None], it.shape[0], axis=0)
    assert (losses(it, it.transition, solution.value, first) >= -1e-6).all()


@pytest.mark.parametrize("seed", range(12))
def test_who_foresees_does_at_each_step_what_enumerating_all_futures_finds(seed):
    it = process(seed, places=("device", "cloud"), levels=(2,))
    matrices = (it.transition, it.transition[:, ::-1])

    def cost(step, place, cell):
        if step == 3:
            return 0.0, 0
        matrix = matrices[step > 0]
        found = [
            it.moving_cost[place, chosen, cell]
            + (it.serving_cost[chosen, cell] if it.allowed[chosen, cell] else np.inf)
            + sum(matrix[cell, following] * cost(step + 1, chosen, following)[0] for following in range(2))
            for chosen in range(2)
        ]
        return min(found), int(np.argmin(found))

    policy = foreseeing(it, [(0, 1, matrices[0]), (1, 3, matrices[1])])
    for step in range(3):
        for place in range(2):
            for cell in range(2):
                assert policy[step, place, cell] == cost(step, place, cell)[1]


@settings(deadline=None, max_examples=20)
@given(PROCESSES, st.floats(0, 2))
def test_the_kindest_transitions_are_no_unkinder_than_the_mean_and_no_kinder_than_the_cheapest_cell(it, distance):
    value = solve(it).value
    found = kindest(it.transition, np.full(it.shape[1], distance), value)
    assert (found <= value @ it.transition.T + 1e-9 * abs(value).max()).all()
    assert (found >= value.min(axis=1, keepdims=True) - 1e-9 * abs(value).max()).all()


def test_the_kindest_transitions_are_the_best_of_all_within_the_distance():
    mean, value = np.array([[0.5, 0.3, 0.2]] * 3), np.array([[1.0, 2.0, 10.0]])
    # 0.15 moves from the dearest to the cheapest cell, and from the next dearest where the dearest has no more.
    assert kindest(mean, np.full(3, 0.3), value)[0, 0] == pytest.approx(0.65 * 1 + 0.3 * 2 + 0.05 * 10)
    assert kindest(mean, np.full(3, 0.6), value)[0, 0] == pytest.approx(0.8 * 1 + 0.2 * 2)


def test_hope_is_never_dearer_than_the_best_and_without_doubt_is_the_best():
    it = process(4)
    best = solve(it)
    sure, value = optimistic(it, np.zeros(it.shape[1]))
    assert np.allclose(value, best.value, rtol=1e-4)
    assert excess(it, sure) < 1e-4
    _, hoped = optimistic(it, np.full(it.shape[1], 0.4))
    assert (hoped <= best.value + 1e-3).all()
    assert (np.diff(distances(np.array([1.0, 10.0, 1e4, 1e6]))) <= 0).all()


def test_a_place_that_is_not_allowed_costs_infinity():
    it = process(5)
    costs = choice_costs(it, np.zeros(it.shape))
    assert np.isinf(costs[:, ~it.allowed]).all()
    assert np.isfinite(costs[:, it.allowed]).all()
