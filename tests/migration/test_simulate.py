"""What a policy does in the long run, exactly, and a simulated week that agrees with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from tests.migration_processes import PROCESSES, process

from isthmus.migration import simulate as module
from isthmus.migration.process import Process, stationary
from isthmus.migration.rivals import always, myopic
from isthmus.migration.simulate import long_run, week
from isthmus.migration.solve import evaluate, solve


@settings(deadline=None, max_examples=40)
@given(PROCESSES)
def test_the_long_run_shares_of_the_cells_are_those_of_the_cells_alone(made: Process) -> None:
    found = long_run(made, solve(made).next_place)
    np.testing.assert_allclose(found.shares.sum(axis=0), stationary(made.transition), atol=1e-6)
    assert 0 <= found.moves <= 1 + 1e-9


@settings(deadline=None, max_examples=40)
@given(PROCESSES)
def test_the_shares_stay_as_they_are_in_one_more_step(made: Process) -> None:
    policy = myopic(made)
    found = long_run(made, policy)
    arriving, after = found.shares @ made.transition, np.zeros(made.shape)
    cells = np.broadcast_to(np.arange(made.shape[1]), made.shape)
    np.add.at(after, (policy, cells), arriving)
    np.testing.assert_allclose(after, found.shares, atol=1e-6)


def test_who_never_moves_stays_where_it_began() -> None:
    made = process(4)
    stays = np.repeat(np.arange(3)[:, None], made.shape[1], axis=1)
    stays[:, ~made.allowed[1]] = np.where(stays == 1, 0, stays)[:, ~made.allowed[1]]
    for start in (0, 2):
        found = long_run(made, stays, start)
        assert found.places[start] == pytest.approx(1)
        assert found.moves == pytest.approx(0, abs=1e-9)


def test_following_the_chain_finds_what_the_linear_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    made = process(6, levels=(4, 3))
    policy = solve(made).next_place
    exact = long_run(made, policy)
    monkeypatch.setattr(module, "MOST_SOLVED", 0)
    followed = long_run(made, policy)
    np.testing.assert_allclose(followed.shares, exact.shares, atol=1e-6)
    assert followed.moves == pytest.approx(exact.moves, abs=1e-6)


def test_a_simulated_week_agrees_with_the_long_run() -> None:
    made = process(9)
    policy = solve(made).next_place
    exact = long_run(made, policy)
    found = week(made, policy, step_seconds=300, seed=1, figures={"cost": made.serving_cost}, moving_figures={"cost": made.moving_cost})
    assert found.steps == 2016
    for index, place in enumerate(made.places):
        share = found.shares[place]
        assert abs(share.mean - exact.places[index]) <= 2.5 * share.plus_minus
    assert abs(found.moves.mean / found.steps - exact.moves) <= 2.5 * found.moves.plus_minus / found.steps
    # At a discount near 1, the discounted cost of a step is the long run's.
    patient = evaluate(process(9, discount=0.9999), policy)
    per_step = float(0.0001 * (stationary(made.transition) @ patient[0]))
    assert abs(found.sums["cost"].mean / found.steps - per_step) <= 2.5 * found.sums["cost"].plus_minus / found.steps + 1e-3


def test_the_same_seed_is_the_same_week_and_another_is_another() -> None:
    made = process(9)
    policy = solve(made).next_place
    one, same, other = (week(made, policy, step_seconds=600, seed=seed, runs=8) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_steps_of_seconds_make_the_week_shorter_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WEEK_STEPS", 100)
    made = process(9)
    found = week(made, always(made, "device"), step_seconds=1, seed=1, runs=2)
    assert (found.steps, found.seconds) == (100, 100)


def test_a_place_that_is_never_left_is_there_all_week() -> None:
    made = process(9)
    found = week(made, always(made, "device"), step_seconds=3600, seed=1, runs=4)
    assert found.shares["device"].mean == 1
    assert found.moves.mean == 0
