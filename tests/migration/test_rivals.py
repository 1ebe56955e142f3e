"""No rival is cheaper than the best policy, and each does what its name says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from tests.migration_processes import PROCESSES, process

from isthmus.migration import rivals
from isthmus.migration.process import Process
from isthmus.migration.rivals import expected
from isthmus.migration.solve import evaluate, solve


@settings(deadline=None, max_examples=50)
@given(PROCESSES)
def test_the_best_policy_is_no_dearer_than_any_rival_in_any_state(made: Process) -> None:
    best = solve(made)
    for name, policy in rivals.rivals(made).items():
        assert (best.value <= evaluate(made, policy) + 1e-6).all(), name


def test_each_rival_goes_where_its_name_says_and_never_where_it_may_not() -> None:
    made = process(5)
    found = rivals.rivals(made)
    assert [*found] == [rivals.NEVER, rivals.ALWAYS_CLOUD, rivals.THRESHOLD, rivals.MYOPIC, rivals.FOLLOW]
    assert (found[rivals.NEVER] == 0).all()
    assert (found[rivals.ALWAYS_CLOUD][:, made.allowed[1]] == 1).all()
    serving = np.where(made.allowed, made.serving_cost, np.inf)
    np.testing.assert_array_equal(found[rivals.FOLLOW], np.broadcast_to(serving.argmin(axis=0), made.shape))
    for policy in found.values():
        assert made.allowed[policy, np.arange(made.shape[1])].all()


def test_where_the_device_may_ask_first_that_is_a_rival_and_a_threshold_too() -> None:
    made = process(5, ("device", "device_then_cloud", "cloud"))
    found = rivals.rivals(made)
    assert [*found] == [rivals.NEVER, rivals.UNSURE, rivals.ALWAYS_CLOUD, rivals.THRESHOLD, rivals.MYOPIC, rivals.FOLLOW]
    assert (found[rivals.UNSURE][:, made.allowed[1]] == 1).all()
    tuned = expected(made, evaluate(made, found[rivals.THRESHOLD]))
    assert tuned == min(expected(made, evaluate(made, rivals.threshold(made, it))) for it in ("device_then_cloud", "cloud"))


def test_the_threshold_is_the_best_there_is() -> None:
    made = process(5)
    tuned = expected(made, evaluate(made, rivals.threshold(made, "cloud")))
    for always in ("device", "cloud"):
        assert tuned <= expected(made, evaluate(made, rivals.always(made, always))) + 1e-9


def test_without_costs_to_move_the_shortsighted_one_is_the_best() -> None:
    made = process(11)
    free = replace(made, moving_cost=np.zeros(made.moving_cost.shape))
    best = solve(free).value
    for policy in (rivals.myopic(free), rivals.follow_the_user(free)):
        np.testing.assert_allclose(evaluate(free, policy), best, rtol=1e-9)


def test_a_step_that_always_costs_the_same_costs_that() -> None:
    made = process(2)
    level = replace(made, serving_cost=np.full(made.shape, 7.0))
    assert expected(level, evaluate(level, rivals.always(level, "device"))) == pytest.approx(7.0)
