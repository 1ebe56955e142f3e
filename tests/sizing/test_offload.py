"""How many devices ask at a time: the distribution against its oracle, its laws, and draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isthmus.sizing.offload import Asking, Offload, erlang_b, offloaded_load, quantile_of, storm_per_second, unsure_devices
from isthmus.sizing.queueing import erlang_c
from isthmus_agent.server.breaker import MOST_FAILURES, Breaker, May

shares, correlations = st.floats(0.001, 0.999), st.floats(0.001, 0.999)


@settings(max_examples=30)
@given(st.integers(1, 400), shares, correlations)
def test_it_is_the_beta_binomial_distribution(devices, share, correlation):
    alpha, beta = (it * (1 - correlation) / correlation for it in (share, 1 - share))
    wanted = stats.betabinom(devices, alpha, beta).pmf(np.arange(devices + 1))
    assert unsure_devices(devices, share, correlation) == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(1, 400), shares)
def test_without_correlation_it_is_the_binomial_distribution(devices, share):
    assert unsure_devices(devices, share, 0) == pytest.approx(stats.binom(devices, share).pmf(np.arange(devices + 1)), abs=1e-12)


@settings(max_examples=30)
@given(st.integers(1, 400), st.floats(0, 1), st.floats(0, 1))
def test_chances_sum_to_one_and_the_mean_is_the_share(devices, share, correlation):
    chances = unsure_devices(devices, share, correlation)
    assert chances.sum() == pytest.approx(1)
    assert chances @ np.arange(devices + 1) == pytest.approx(devices * share, abs=1e-6 * devices)


def test_with_full_correlation_all_ask_or_none():
    assert unsure_devices(3, 0.25, 1).tolist() == [0.75, 0, 0, 0.25]


@pytest.mark.parametrize(("share", "all_of_it"), [(0, 0), (1, 5)])
def test_none_or_all_are_unsure_whatever_the_correlation(share, all_of_it):
    for correlation in (0, 0.5, 1):
        assert unsure_devices(5, share, correlation)[all_of_it] == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("share", [5e-324, 1e-300, 1 - 2**-53])
@pytest.mark.parametrize("correlation", [0, 5e-324, 1e-12, 0.5, 1 - 2**-53])
def test_shares_at_the_edge_of_what_numbers_can_say_are_no_trouble(share, correlation):
    chances = unsure_devices(1000, share, correlation)
    assert np.isfinite(chances).all()
    assert chances.sum() == pytest.approx(1)
    assert chances @ np.arange(1001) == pytest.approx(1000 * share, abs=0.1)


@pytest.mark.parametrize(
    ("devices", "share", "correlation"), [(0, 0.1, 0), (-1, 0.1, 0), (5, 1.1, 0), (5, math.nan, 0), (5, 0.1, -0.1), (5, 0.1, math.inf)]
)
def test_what_is_no_distribution_is_refused(devices, share, correlation):
    with pytest.raises(ValueError, match="no distribution"):
        unsure_devices(devices, share, correlation)


@settings(max_examples=30)
@given(st.integers(1, 300), shares, correlations, st.floats(0.5, 0.9999))
def test_the_quantile_is_the_least_that_is_enough(devices, share, correlation, quantile):
    chances = unsure_devices(devices, share, correlation)
    found = quantile_of(chances, quantile)
    assert chances[: found + 1].sum() >= quantile - 1e-9
    assert not found or chances[:found].sum() < quantile


def test_more_correlation_needs_more_at_the_same_mean():
    found = [quantile_of(unsure_devices(1000, 0.08, correlation), 0.99) for correlation in (0, 0.01, 0.05, 0.1, 0.2)]
    assert found == sorted(found)
    assert found[0] == 101
    assert found[-1] > 4 * found[0]


@pytest.mark.parametrize("correlation", [0.0, 0.05, 0.3])
def test_a_million_devices_are_no_trouble_and_draws_agree(correlation):
    random, devices = np.random.default_rng(1), 2000
    share = random.beta(0.1 * (1 - correlation) / correlation, 0.9 * (1 - correlation) / correlation, 40_000) if correlation else 0.1
    drawn = random.binomial(devices, share, 40_000)
    found = quantile_of(unsure_devices(devices, 0.1, correlation), 0.95)
    # The share of draws at or below it, within four standard errors.
    assert (drawn <= found).mean() == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 40_000) + 0.001)
    assert len(unsure_devices(1_000_000, 0.1, correlation)) == 1_000_001


def test_the_load_is_what_the_asking_devices_are_asked():
    load = offloaded_load(Offload(1000, 0.08, 0.0, 99), 500)
    assert load is not None
    assert (load.mean_devices, load.quantile_devices) == (pytest.approx(80), 101)
    assert (load.mean_per_second, load.quantile_per_second) == (pytest.approx(40), pytest.approx(50.5))


def test_a_quantile_below_the_mean_plans_for_the_mean():
    load = offloaded_load(Offload(1000, 0.005, 1.0, 99), 1000)
    assert load is not None
    assert load.quantile_per_second == load.mean_per_second == pytest.approx(5)


@pytest.mark.parametrize(("simulated", "planned"), [(240.0, 240), (10.0, 80)])
def test_a_simulation_says_the_quantile_and_the_closed_form_stays_beside_it(simulated, planned):
    asked = Offload(1000, correlation=0.0).asked_by(Asking(0.08, simulated, 604_800))
    load = offloaded_load(asked, 500)
    assert load is not None
    assert (load.mean_devices, load.quantile_devices, load.closed_devices) == (pytest.approx(80), pytest.approx(planned), 101)
    assert load.closed_per_second == pytest.approx(50.5)


def test_without_a_simulation_the_closed_form_is_planned_for():
    load = offloaded_load(Offload(1000, correlation=0.0).asked_by(Asking(0.08)), 500)
    assert load is not None
    assert load.quantile_devices == load.closed_devices == 101


@pytest.mark.parametrize(("offload", "asked"), [(Offload(0, 0.1), 5), (Offload(10), 5), (Offload(10, 0.1), 0)])
def test_what_is_not_known_is_no_load(offload, asked):
    assert offloaded_load(offload, asked) is None


def test_a_storm_is_no_denser_than_said_of_the_devices_own_breakers():
    random, devices = np.random.default_rng(3), 1000
    tries = []
    for _ in range(devices):
        breaker = Breaker(random.random)
        for _ in range(MOST_FAILURES):
            breaker.failed(0.0, was_try=False)
        tries.append(next(at for at in np.arange(0.0, 20.0, 0.01) if breaker.may(float(at)) is May.TRY))
    counts, _ = np.histogram(tries, np.arange(0.0, 20.0, 0.5))
    most = storm_per_second(devices) * 0.5
    assert counts.max() <= most + 4 * math.sqrt(most)
    assert sorted(counts)[-4:] == pytest.approx([most] * 4, abs=4 * math.sqrt(most))  # and as dense as said


@given(st.integers(1, 200), st.floats(0.01, 150))
def test_erlang_b_and_erlang_c_agree(servers, load):
    blocked = erlang_b(servers, load)
    assert 0 <= blocked <= 1
    if load < servers:
        assert erlang_c(servers, load) == pytest.approx(blocked / (1 - load / servers * (1 - blocked)))


def test_erlang_b_is_what_tables_say():
    assert erlang_b(5, 3) == pytest.approx(0.1101, abs=5e-5)
    assert erlang_b(0, 3) == 1
    for wrong in ((-1, 1.0), (1, -1.0), (1, math.nan)):
        with pytest.raises(ValueError, match="Erlang B"):
            erlang_b(*wrong)
