import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError, InputError
from isthmus.sizing.formulas.balancing import mean_response_of_shares_ms, plan_shares
from isthmus.sizing.formulas.weights import _case, _polished, round_to_weights

capacities = st.lists(st.floats(0.1, 20), min_size=1, max_size=12)
loads = st.floats(0.01, 0.95)


def mean_ms(plan, weights):
    return mean_response_of_shares_ms(np.array(weights) / sum(weights), plan.capacities_per_second, plan.requests_per_second)


@settings(max_examples=40)
@given(capacities, loads, st.integers(20, 300))
def test_weights_are_whole_within_the_limit_and_overload_nobody(p, load, max_weight):
    plan = plan_shares(p, load * sum(p))
    result = round_to_weights(plan, max_weight=max_weight)
    assert all(0 <= weight <= max_weight for weight in result.weights)
    assert result.left_out == tuple(i for i, weight in enumerate(result.weights) if weight == 0)
    assert result.mean_ms == pytest.approx(mean_ms(plan, result.weights), rel=1e-9)
    assert np.isfinite(result.mean_ms)


@settings(max_examples=40)
@given(capacities, loads)
def test_rounding_never_gains_and_its_loss_is_the_one_stated(p, load):
    plan = plan_shares(p, load * sum(p))
    result = round_to_weights(plan)
    assert result.rounding_loss_percent >= 0
    assert result.mean_ms == pytest.approx(plan.mean_ms * (1 + result.rounding_loss_percent / 100), rel=1e-9)


@given(capacities, st.floats(0.01, 0.9), st.integers(500, 5000))
def test_the_loss_of_a_sum_is_within_its_bound(p, load, total):
    """At the optimum a first-order change is zero, and no share moves by more than 1/W: so ½·max f″/W² each bounds the loss."""
    plan = plan_shares(p, load * sum(p))
    x, capacity, rate = np.array(plan.shares), np.array(p), plan.requests_per_second
    worst = capacity - rate * (x + 1 / total)
    assume((worst > 0).all())
    bound_ms = 1000 * (rate * capacity / worst**3)[x > 0].sum() / total**2
    assert mean_ms(plan, _polished(_case(plan), total, total)) <= plan.mean_ms * (1 + 1e-9) + bound_ms


@given(st.lists(st.floats(0.5, 8), min_size=2, max_size=3), st.floats(0.1, 0.8), st.integers(6, 14))
def test_weights_of_a_sum_are_the_best_of_all_weights_of_that_sum(p, load, total):
    plan = plan_shares(p, load * sum(p))
    everything = (w for w in itertools.product(range(total + 1), repeat=len(p)) if sum(w) == total)
    best = min(mean_ms(plan, w) for w in everything)
    assume(np.isfinite(best))
    assert mean_ms(plan, _polished(_case(plan), total, total)) == pytest.approx(best, rel=1e-9)


@settings(max_examples=40)
@given(capacities, loads, st.integers(30, 200))
def test_no_sum_beats_the_chosen_one_by_plain_largest_remainders(p, load, max_weight):
    """The alternative: shares times the largest sum, floors, and one more for the largest fractions."""
    plan = plan_shares(p, load * sum(p))
    total = int(max_weight / max(plan.shares))
    exact = np.array(plan.shares) * total
    plain = np.floor(exact)
    plain[np.argsort(plain - exact, kind="stable")[: round(total - plain.sum())]] += 1
    assume(plain.max() <= max_weight)
    assert round_to_weights(plan, max_weight=max_weight).mean_ms <= mean_ms(plan, plain) * (1 + 1e-8)


@settings(max_examples=40)
@given(st.floats(0.1, 20), st.integers(1, 12), loads)
def test_equal_servers_get_a_weight_of_one(p, count, load):
    result = round_to_weights(plan_shares([p] * count, load * p * count))
    assert result.weights == (1,) * count
    assert result.rounding_loss_percent == pytest.approx(0, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(2, 6), st.floats(0.1, 0.7), st.data())
def test_bounds_hold_after_rounding(count, load, data):
    p = np.array(data.draw(st.lists(st.floats(1, 5), min_size=count, max_size=count)))
    lower, upper = np.full(count, 0.5 / count), np.full(count, 1.5 / count)
    try:
        plan = plan_shares(p, load * p.sum(), min_shares=lower, max_shares=upper)
    except GateError:
        assume(False)
    shares = np.array(round_to_weights(plan).shares)
    assert (shares >= lower - 1e-9).all()
    assert (shares <= upper + 1e-9).all()


def test_the_sum_is_kept_below_its_limit():
    plan = plan_shares([4, 2, 1], 4.2)
    assert round_to_weights(plan, max_sum=11).weights == (7, 3, 1)
    assert round_to_weights(plan, max_weight=10).weights == (7, 3, 1)


def test_weights_are_left_alone_where_shares_are_exact_fractions():
    plan = plan_shares([4, 2, 1], 4.2, max_shares=[0.5, 1 / 3, 1 / 3])
    result = round_to_weights(plan)
    assert result.weights == (3, 2, 1)
    assert result.explain() == "weights 3 : 2 : 1: mean 1374.27 ms against 1374.27 ms with exact shares (rounding loses 0 %)"


def test_a_server_that_is_left_out_has_no_weight():
    result = round_to_weights(plan_shares([100, 10, 0.1], 30))
    assert result.weights == (1, 0, 0)
    assert result.left_out == (1, 2)
    assert "2 left out" in result.explain()


def test_weights_that_cannot_be_fine_enough_are_refused_with_a_way_out():
    plan = plan_shares([np.pi, np.e, 1], 6.8598)
    with pytest.raises(GateError, match=r"no whole weights up to 10 .* raise max_weight"):
        round_to_weights(plan, max_weight=10)
    assert np.isfinite(round_to_weights(plan, max_weight=1_000_000).mean_ms)


@pytest.mark.parametrize("limits", [{"max_weight": 0}, {"max_sum": -1}])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(InputError, match="at least 1"):
        round_to_weights(plan_shares([1, 2], 1), **limits)


def test_twenty_thousand_servers_are_answered():
    p = np.random.default_rng(3).uniform(1, 10, 20_000)
    assert round_to_weights(plan_shares(p, 0.8 * p.sum())).rounding_loss_percent < 0.01
