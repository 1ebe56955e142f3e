"""Q-learning within bounds: it comes to the best policy, and explores only what cannot cost more than the bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import PROCESSES, process

from isthmus.migration.learning import simulate
from isthmus.migration.learning.qlearning import Explored, SafeQ, wrong_costs
from isthmus.migration.learning.stream import stream
from isthmus.migration.learning.traces import traces
from isthmus.migration.solve import evaluate, solve

STREAM = stream()


@settings(deadline=None, max_examples=15)
@given(PROCESSES, st.integers(0, 2**32 - 1), st.floats(0, 30))
def test_what_is_explored_never_costs_more_than_the_bound_whatever_comes_next(it, seed, most_wrong):
    """Against the best place: now, and in the next step for whatever the best place would have led to; with all costs within the margin."""
    dice = np.random.default_rng(seed)
    margin = 0.3
    learner = SafeQ(it, Explored(share=1.0, most_wrong=most_wrong, cost_margin=margin), seed)
    truth = it.serving_cost * dice.uniform(1 - margin, 1 + margin, it.shape)
    place, cell = 0, 0
    for _ in range(30):
        best = int(learner._choices(cell)[place].argmin())
        for other in learner.safe(place, best, cell):
            assert it.allowed[other, cell]
            now = it.moving_cost[place, other, cell] + truth[other, cell] - it.moving_cost[place, best, cell] - truth[best, cell]
            then = (it.moving_cost[other] - it.moving_cost[best]).max()
            assert now + then <= most_wrong + 1e-9
        chosen, following = learner.place(place, cell), int(dice.integers(it.shape[1]))
        learner.saw(place, cell, chosen, truth[chosen, cell], following)
        place, cell = chosen, following


def test_a_bound_of_nothing_explores_nothing_that_could_cost_anything():
    drawn = simulate.drawn(STREAM, traces(500)[1], 1)
    learner = SafeQ(STREAM.process, Explored(share=1.0, most_wrong=0.0), 1)
    simulate.learned(STREAM, drawn, learner)
    assert learner.explored == 0


def test_a_wider_bound_explores_more():
    explored = []
    for most_wrong in (60.0, 150.0, np.inf):
        learner = SafeQ(STREAM.process, Explored(most_wrong=most_wrong), 1)
        simulate.learned(STREAM, simulate.drawn(STREAM, traces(800)[1], 1), learner)
        explored.append(learner.explored)
    assert explored[0] < explored[1] < explored[2]


def test_staying_with_the_best_place_costs_only_what_the_plan_may_be_wrong_by():
    it = process(2)
    found = wrong_costs(it, 0.1)
    for place in range(3):
        assert np.allclose(found[:, place, place], 0.2 * np.abs(it.serving_cost[place]))


def test_it_comes_near_the_best_where_the_plan_is_wrong_about_what_follows_and_what_it_costs():
    it = process(4, levels=(2,), discount=0.8)
    wrong = replace(it, transition=it.transition[:, ::-1], serving_cost=it.serving_cost[:, ::-1], allowed=np.ones(it.shape, dtype=bool))
    it = replace(it, allowed=np.ones(it.shape, dtype=bool))
    best = solve(it).value.mean()
    before = evaluate(it, solve(wrong).next_place).mean() / best - 1
    learner, dice, place, cell = SafeQ(wrong, Explored(share=0.3, most_wrong=np.inf), 3), np.random.default_rng(3), 0, 0
    for _ in range(4000):
        chosen = learner.place(place, cell)
        following = int(dice.random() < it.transition[cell, 1])
        learner.saw(place, cell, chosen, it.serving_cost[chosen, cell], following)
        place, cell = chosen, following
    assert before > 0.05
    assert evaluate(it, learner.policy).mean() / best - 1 < 0.01


def test_it_costs_less_than_the_plans_policy_where_the_plan_is_wrong():
    drawn = simulate.drawn(STREAM, traces(2500)[1], 1)
    fixed = simulate.chosen_by(STREAM, drawn, solve(STREAM.process).next_place)
    learned, _ = simulate.learned(STREAM, drawn, SafeQ(STREAM.process, seed=1))
    assert learned.mean() < 0.97 * fixed.mean()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_is_a_seed(seed):
    drawn = simulate.drawn(STREAM, traces(300)[1], 1)
    runs = [simulate.learned(STREAM, drawn, SafeQ(STREAM.process, Explored(share=0.5), seed))[1] for _ in range(2)]
    assert np.array_equal(*runs)
