"""How many of a fleet ask at once: what is sure about the simulation of all of them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.arguments.policy_file import load_policy
from isthmus.migration.situation import Place, Situation, ThenCloud
from isthmus.migration.study import Solved, solved
from isthmus.migration.together import Asked, Devices, asked_at_once
from isthmus.sizing.offload import quantile_of, unsure_devices

EXAMPLE = Path(__file__).parents[2] / "policies" / "digits.yaml"
DAYS = 2
SECONDS = DAYS * 86_400.0


def situation(common: float, unsure: float | None = None) -> Situation:
    """Of the example, with one level of load. The cloud is so much better that it is asked wherever it can be; with `unsure` both together
    are, and the device is asked first."""
    of = load_policy(EXAMPLE.name, EXAMPLE.parent, "file").situation()
    one = replace(of.load_axis, dimension=replace(of.load_axis.dimension, levels=("all",), edges=()), transition=np.ones((1, 1)))
    device, cloud = Place(1.0, 2.0, error_rate=0.5), Place(3.0, 8.0, error_rate=0.1 if unsure is None else 0.5)
    then = None if unsure is None else ThenCloud(unsure, 0.1)
    worth = replace(of.worth, wrong_answer_ms=1000.0)
    changes = {"load_axis": one, "load": (5.0,), "device": device, "cloud": cloud, "then_cloud": then, "worth": worth}
    return replace(of, network_common=common, **changes)


def policy(common: float = 0.0, unsure: float | None = None) -> Solved:
    return solved("*", situation(common, unsure))


@pytest.fixture(scope="module")
def independent() -> Solved:
    return policy()


@pytest.fixture(scope="module")
def passing() -> Solved:
    return policy(unsure=0.3)


def test_independent_devices_are_binomial(independent: Solved) -> None:
    share = independent.requests_at("cloud")
    assert 0.5 < share < 0.999
    found = asked_at_once([Devices(independent, 400)], seconds=SECONDS)
    assert found.mean == pytest.approx(400 * share, abs=0.2)
    chances = unsure_devices(400, share, 0.0)
    for percent in (5, 50, 90, 99):
        assert abs(found.quantile(percent) - quantile_of(chances, percent / 100)) <= 1


def test_devices_with_common_changes_ask_together_more_often(independent: Solved) -> None:
    alone = asked_at_once([Devices(independent, 400)], seconds=SECONDS)
    together = asked_at_once([Devices(policy(0.5), 400)], seconds=SECONDS)
    assert together.mean == pytest.approx(alone.mean, rel=0.05)  # each of them does as before
    assert together.devices.std() > 3 * alone.devices.std()
    assert together.quantile(99) > alone.quantile(99)


def test_when_all_changes_are_common_devices_are_all_there_or_none_of_them(independent: Solved) -> None:
    found = asked_at_once([Devices(policy(1.0), 400)], seconds=SECONDS).devices
    assert np.isin(found, (0, 400)).mean() > 0.99
    assert 0 < (found == 400).mean() < 1


def test_what_devices_pass_on_is_the_beta_binomial_of_those_that_do(passing: Solved) -> None:
    shares = passing.shares
    assert shares["device_then_cloud"] > 0.5
    assert shares["cloud"] == pytest.approx(0, abs=1e-6)
    share = 0.3 * passing.requests_at("device_then_cloud")
    sure, alike = (asked_at_once([Devices(passing, 400, 0.3)], correlation=it, seconds=SECONDS) for it in (0.0, 0.2))
    assert sure.mean == pytest.approx(400 * share, abs=0.3)
    assert abs(sure.quantile(99) - quantile_of(unsure_devices(400, share, 0.0), 0.99)) <= 2
    assert alike.mean == pytest.approx(sure.mean, rel=0.05)
    assert alike.quantile(99) > 1.5 * sure.quantile(99)


def test_devices_without_a_policy_are_the_closed_form() -> None:
    found = asked_at_once([Devices(None, 500, 0.1)], correlation=0.1, seconds=60_000)
    chances = unsure_devices(500, 0.1, 0.1)
    assert found.mean == pytest.approx(50, rel=0.03)
    assert found.quantile(99) == pytest.approx(quantile_of(chances, 0.99), rel=0.05)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_a_higher_quantile_is_never_less_and_none_is_more_than_all(
    devices: int, unsure: float, correlation: float, common: float, seed: int
) -> None:
    found = asked_at_once(
        [Devices(policy(common), devices), Devices(None, devices, unsure)], correlation=correlation, seed=seed, seconds=4_000
    )
    quantiles = [found.quantile(it) for it in (50, 75, 90, 99, 99.99, 100)]
    assert quantiles == sorted(quantiles)
    assert 0 <= found.devices[0] <= quantiles[-1] <= 2 * devices


def test_the_same_seed_is_the_same_fleet(independent: Solved) -> None:
    one, same, other = (asked_at_once([Devices(independent, 50)], seed=seed, seconds=4_000).devices for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_busy_device_counts_for_more_than_one() -> None:
    found = solved("*", load_policy(EXAMPLE.name, EXAMPLE.parent, "file").situation())
    asked = asked_at_once([Devices(found, 200)], seconds=SECONDS)
    assert asked.mean == pytest.approx(200 * found.requests_at("cloud"), rel=0.03)
    assert found.requests_at("cloud") > found.shares["cloud"]


def test_a_fleet_of_nobody_is_refused(independent: Solved) -> None:
    with pytest.raises(ValueError, match="without devices"):
        asked_at_once([Devices(independent, 0)])


def test_the_quantile_is_the_least_that_so_many_looks_keep() -> None:
    found = Asked(np.arange(1.0, 101.0), 1.0)
    assert [found.quantile(it) for it in (50, 99, 99.5, 100)] == [50, 99, 100, 100]
    assert math.isclose(found.mean, 50.5)
