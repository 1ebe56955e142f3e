import dataclasses
import itertools
import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize

from isthmus.errors import GateError, InputError
from isthmus.sizing.formulas.balancing import greatest_rate_per_second, kkt_residual, mean_response_of_shares_ms, plan_shares

capacity = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)
capacities = st.lists(capacity, min_size=1, max_size=30)
extreme_capacities = st.lists(st.floats(-6, 6).map(lambda exponent: 10.0**exponent), min_size=1, max_size=30)
loads = st.floats(0, 0.999)
few_servers = st.lists(st.floats(0.5, 20), min_size=2, max_size=5)


@st.composite
def bounded(draw):
    """Capacities, a demand and bounds that leave some room: (p, λ, lower, upper)."""
    p = np.array(draw(st.lists(capacity, min_size=1, max_size=12)))
    count = len(p)
    fractions = st.lists(st.floats(0, 1), min_size=count, max_size=count)
    lower = np.array(draw(fractions)) * 0.9 / count
    upper = np.minimum(1, lower + np.array(draw(fractions)) + 1 / count)
    greatest = greatest_rate_per_second(np.array(p), lower, upper)
    return p, draw(loads) * greatest, lower, upper


def kkt_tolerance(p, rate):
    """Marginals are p/(p − λx)²; near saturation p − λx keeps as many digits less as the load has nines."""
    return 1e-11 / (1 - rate / sum(p))


@given(extreme_capacities, st.floats(0, 1 - 1e-6))
def test_shares_are_feasible_and_optimal_below_the_capacity(p, load):
    rate = load * sum(p)
    plan = plan_shares(p, rate)
    assert sum(plan.shares) == pytest.approx(1, abs=1e-12)
    assert min(plan.shares) >= 0
    assert max(plan.utilisations) < 1
    assert kkt_residual(plan.shares, p, rate) <= kkt_tolerance(p, rate)


@given(capacities, st.floats(1, 100))
def test_demand_at_or_above_the_capacity_is_refused(p, load):
    rate = max(load * sum(p), float(np.sum(p)))
    with pytest.raises(GateError, match=f"a capacity of more than {rate:g}/s"):
        plan_shares(p, rate)


@given(capacities, loads, st.randoms(use_true_random=False))
def test_the_order_of_the_servers_does_not_matter(p, load, shuffler: random.Random):
    order = list(range(len(p)))
    shuffler.shuffle(order)
    rate = load * sum(p)
    shares, shuffled = plan_shares(p, rate).shares, plan_shares([p[i] for i in order], rate).shares
    assert shuffled == pytest.approx([shares[i] for i in order], abs=1e-9)


@given(capacity, st.integers(1, 40), capacities, loads)
def test_equal_capacities_get_exactly_equal_shares(equal, count, others, load):
    p = [equal] * count + others
    assert len(set(plan_shares(p, load * sum(p)).shares[:count])) == 1


@given(capacities, loads)
def test_more_capacity_never_gets_less(p, load):
    shares = plan_shares(sorted(p), load * sum(p)).shares
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(shares))


@given(capacities, loads, st.data())
def test_a_server_made_faster_never_gets_less(p, load, data):
    rate, i = load * sum(p), data.draw(st.integers(0, len(p) - 1))
    faster = [*p[:i], p[i] * 1.5, *p[i + 1 :]]
    assert plan_shares(faster, rate).shares[i] >= plan_shares(p, rate).shares[i] - 1e-9


@given(capacities, loads, st.floats(-6, 6).map(lambda exponent: 10.0**exponent))
def test_the_unit_of_time_does_not_matter(p, load, unit):
    rate = load * sum(p)
    plan, scaled = plan_shares(p, rate), plan_shares(np.array(p) * unit, rate * unit)
    # Scaling rounds each capacity; at a light load a share moves by that rounding over λ.
    rounding = 4 * np.finfo(float).eps * max(p) / rate
    assert scaled.shares == pytest.approx(plan.shares, abs=1e-9 + rounding)
    assert scaled.mean_ms * unit == pytest.approx(plan.mean_ms, rel=1e-6)


@given(bounded())
def test_bounds_hold_and_the_rest_is_optimal(case):
    p, rate, lower, upper = case
    plan = plan_shares(p, rate, min_shares=lower, max_shares=upper)
    x = np.array(plan.shares)
    assert x.sum() == pytest.approx(1, abs=1e-9)
    assert (x >= lower).all()
    assert (x <= upper).all()
    spare = (p - rate * x) / p
    assert kkt_residual(x, p, rate, min_shares=lower, max_shares=upper) <= 1e-11 / spare.min()


@given(bounded(), st.integers(0, 2**32 - 1))
def test_no_random_move_within_the_bounds_is_better(case, seed):
    p, rate, lower, upper = case
    plan = plan_shares(p, rate, min_shares=lower, max_shares=upper)
    x, generator = np.array(plan.shares), np.random.default_rng(seed)
    for _ in range(20):
        # towards another point within the bounds, which keeps the sum
        other = lower + generator.random(len(p)) * (upper - lower)
        free = upper - other if other.sum() < 1 else other - lower
        assume(free.sum() > 0)
        other += (1 - other.sum()) * free / free.sum()
        moved = x + generator.random() * 0.1 * (other - x)
        assert mean_response_of_shares_ms(moved, p, rate) >= plan.mean_ms * (1 - 1e-9)


@given(few_servers, st.floats(0.05, 0.95), st.booleans())
def test_a_general_solver_finds_nothing_better(p, load, with_bounds):
    p = np.array(p)
    upper = np.minimum(1, p / p.sum() * 1.05) if with_bounds else np.ones(len(p))
    lower = np.minimum(0.02, upper) if with_bounds else np.zeros(len(p))
    rate = load * greatest_rate_per_second(np.array(p), lower, upper)
    plan = plan_shares(p, rate, min_shares=lower, max_shares=upper)
    found = minimize(
        lambda x: (x / (p - rate * x)).sum() * p.sum(),
        p / p.sum(),
        jac=lambda x: p / (p - rate * x) ** 2 * p.sum(),
        method="SLSQP",
        bounds=list(zip(lower, np.minimum(upper, (1 - 1e-6) * p / rate), strict=True)),
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}],
        options={"ftol": 1e-13, "maxiter": 200},
    )
    assume(found.success)
    assert plan.mean_ms <= 1000 * found.fun / p.sum() * (1 + 1e-9)
    assert plan.mean_ms == pytest.approx(1000 * found.fun / p.sum(), rel=1e-5)


@given(capacities, st.floats(0.01, 0.95))
def test_shares_in_proportion_to_capacity_are_never_better(p, load):
    plan = plan_shares(p, load * sum(p))
    assert plan.proportional_ms is not None
    assert plan.mean_ms <= plan.proportional_ms * (1 + 1e-9)


def test_the_residual_sees_shares_that_are_not_optimal():
    p, rate = [4.0, 2.0, 1.0], 4.2
    assert kkt_residual(plan_shares(p, rate).shares, p, rate) < 1e-12
    assert kkt_residual(np.array(p) / 7, p, rate) > 0.1
    assert kkt_residual([1.0, 0.0, 0.0], p, rate) == float("inf")
    assert kkt_residual([0.5, 0.2, 0.1], p, rate) >= 0.2


@given(st.lists(capacity, min_size=1, max_size=12), st.data())
def test_the_greatest_rate_is_where_feasible_turns_infeasible(p, data):
    upper = np.array(data.draw(st.lists(st.floats(0.05, 1), min_size=len(p), max_size=len(p))))
    assume(upper.sum() >= 1 + 1e-6)
    lower = upper * data.draw(st.floats(0, 1)) / upper.sum() * 0.99
    greatest = greatest_rate_per_second(np.array(p), lower, upper)
    assert max(plan_shares(p, greatest * (1 - 1e-6), min_shares=lower, max_shares=upper).utilisations) < 1
    with pytest.raises(GateError):
        plan_shares(p, greatest * (1 + 1e-6), min_shares=lower, max_shares=upper)


def test_without_demand_the_fastest_take_all():
    assert plan_shares([4, 2, 4], 0).shares == (0.5, 0.0, 0.5)
    assert plan_shares([4, 2, 1], 0, max_shares=[0.5, 0.3, 1]).shares == pytest.approx((0.5, 0.3, 0.2))
    assert plan_shares([4, 4, 1], 0, min_shares=[0, 0.6, 0.1]).shares == pytest.approx((0.3, 0.6, 0.1))


@given(bounded(), st.sampled_from([1e-3, 1e-9, 1e-15, 1e-60]))
def test_light_load_tends_to_no_load_without_losing_digits(case, load):
    p, _, lower, upper = case
    rate = load * greatest_rate_per_second(np.array(p), lower, upper)
    x = np.array(plan_shares(p, rate, min_shares=lower, max_shares=upper).shares)
    assert x.sum() == pytest.approx(1, abs=1e-12)
    assert kkt_residual(x, p, rate, min_shares=lower, max_shares=upper) <= 1e-12


def test_nearly_equal_servers_at_a_light_load_are_told_apart():
    p, rate = [1.0, 1.0 - 1e-10], 1e-9
    # from the conditions: x₁ − x₂ = (√p₁ − √p₂)(√p₁ + √p₂ − s)/λ with s ≈ 1, about 5e-11/1e-9
    first, second = plan_shares(p, rate).shares
    assert first - second == pytest.approx(0.05, rel=1e-5)


def test_a_server_that_is_too_slow_is_left_out_and_named():
    plan = plan_shares([100, 10, 0.1], 30)
    assert plan.left_out == (1, 2)
    assert plan.threshold > np.sqrt(10)
    assert "2 left out (too slow to help at this load)" in plan.explain()
    assert plan_shares([100, 10, 0.1], 109.9).left_out == ()


def test_one_server_takes_all():
    plan = plan_shares([8], 6)
    assert plan.shares == (1.0,)
    assert plan.mean_ms == pytest.approx(500)


def test_the_explanation_has_the_numbers():
    text = plan_shares([4, 2, 1], 4.2).explain()
    for part in ("λ = 4.2/s", "7/s", "4/s → 65.0%", "2/s → 26.3%", "1/s → 8.7%", "mean 942.63 ms", "in proportion to capacity: 1071.43 ms"):
        assert part in text


def test_servers_at_their_bounds_are_named():
    plan = plan_shares([4, 2, 1], 4.2, min_shares=[0, 0, 0.15], max_shares=[0.5, 1, 1])
    assert plan.shares == pytest.approx((0.5, 0.35, 0.15))
    assert (plan.at_min_share, plan.at_max_share, plan.left_out) == ((2,), (0,), ())
    assert plan.proportional_ms is None


def test_bounds_that_leave_one_choice_give_it():
    assert plan_shares([1, 1, 1], 1, min_shares=[1 / 3] * 3).shares == pytest.approx([1 / 3] * 3)
    assert plan_shares([1, 1, 1], 1, max_shares=[1 / 3] * 3).shares == pytest.approx([1 / 3] * 3)


def test_a_plan_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan_shares([1], 0.5).mean_ms = 0


def test_every_entry_that_makes_no_sense_is_named_at_once():
    with pytest.raises(InputError) as caught:
        plan_shares([1, float("nan"), -2, 0, float("inf")], 1)
    assert [problem.path for problem in caught.value.problems] == [f"servers.capacities_per_second[{i}]" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("p", [[], [[1, 2]], ["fast"], 3.0])
def test_what_is_not_a_list_of_numbers_is_refused(p):
    with pytest.raises(InputError, match="capacities_per_second"):
        plan_shares(p, 1)


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises(InputError, match="requests_per_second"):
        plan_shares([1, 2], rate)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min_shares": [0.5, 1.5, 0]}, r"min_shares\[1\]: a share of 1.5"),
        ({"max_shares": [0.5, float("nan"), 1]}, r"max_shares\[1\]: a share of nan"),
        ({"min_shares": [0.5, 0.5]}, "2 values for 3 servers"),
        ({"min_shares": [0.5, 0.4, 0.3]}, "minimum shares add up to 1.2"),
        ({"max_shares": 0.3}, "maximum shares add up to 0.9"),
        ({"min_shares": [0.3, 0, 0], "max_shares": [0.2, 1, 1]}, r"servers\[0\]: min_share 0.3 is above max_share 0.2"),
        ({"min_shares": [0, 0, 0.4]}, r"servers\[2\].min_share: a share of at least 0.4 is 2 requests/s for a server that can answer 1/s"),
        ({"max_shares": [0.3, 1, 1]}, r"no more than 4.28571 requests/s, not 5/s.*raise the maximum share of \[0\]"),
    ],
)
def test_bounds_that_contradict_are_named(bounds, message):
    with pytest.raises(InputError, match=message):
        plan_shares([4, 2, 1], 5, **bounds)


def test_a_hundred_thousand_servers_are_answered_and_as_many_mistakes_cut_short():
    p = np.random.default_rng(3).uniform(1, 10, 100_000)
    rate = 0.8 * p.sum()
    assert kkt_residual(plan_shares(p, rate).shares, p, rate) < 1e-11
    with pytest.raises(InputError, match="and 99980 more entries like these"):
        plan_shares(-p, rate)
