"""From measured figures to costs: closed forms against sampling, and what each figure moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.arguments.policy_file import load_policy
from isthmus.errors import InputError
from isthmus.migration.costs import JOULES, MISSED, MONEY, WAITED_MS, WRONG, build, waiting
from isthmus.migration.process import Process
from isthmus.migration.situation import Link, Situation, ThenCloud, leaving, wandering
from isthmus.names import STAYS_IN_GROUP, STAYS_ON_DEVICE

EXAMPLE = Path(__file__).parents[2] / "policies" / "cameras.yaml"
SITUATION = load_policy(EXAMPLE.name, EXAMPLE.parent, "file").situation()


@pytest.mark.parametrize(("service", "p95", "deadline", "rate"), [(20, 30, 60, 0), (20, 59, 80, 20), (5, 5, 12, 100), (30, 60, 200, 30)])
def test_waiting_and_misses_are_those_of_a_simulated_queue(service: float, p95: float, deadline: float, rate: float) -> None:
    dice = np.random.default_rng(1)
    spread = max(min((p95 - service) / (np.log(20) - 1), service), 1e-6)
    serving = service - spread + dice.exponential(spread, 200_000)
    wait = np.zeros(len(serving))
    if rate:
        gaps = dice.exponential(1000 / rate, len(serving))
        steps = serving[:-1] - gaps[1:]
        walk = np.concatenate([[0.0], np.cumsum(steps)])
        wait = walk - np.minimum.accumulate(walk)  # Lindley's recursion
    times = serving + wait
    waited, missed = waiting(service, p95, deadline, requests_per_second=rate)
    assert waited == pytest.approx(np.minimum(times, deadline).mean(), rel=0.03)
    assert missed == pytest.approx((times > deadline).mean(), abs=0.02)


@settings(deadline=None)
@given(
    st.floats(0.01, 1000), st.floats(1, 20), st.floats(0.01, 5000), st.floats(0, 500), st.floats(0, 2000)
)  # fmt: skip
def test_nobody_waits_beyond_the_deadline_and_a_share_is_one(
    service: float, ratio: float, deadline: float, rate: float, fixed: float
) -> None:
    waited, missed = waiting(service, service * ratio, deadline, fixed_ms=fixed, requests_per_second=rate)
    assert 0 <= missed <= 1
    assert 0 <= waited <= deadline * (1 + 1e-9)


@settings(deadline=None)
@given(st.floats(1, 50), st.floats(0, 60), st.floats(0, 30))
def test_more_load_never_helps(service: float, rate: float, more: float) -> None:
    calm, busy = (waiting(service, 1.5 * service, 100, requests_per_second=it) for it in (rate, rate + more))
    assert busy[0] >= calm[0] - 1e-6
    assert busy[1] >= calm[1] - 1e-9


def test_a_place_that_is_cut_off_is_not_allowed() -> None:
    process = build(SITUATION).process
    cut = [cell for cell in range(process.shape[1]) if process.cell_name(cell).startswith("network cut")]
    assert not process.allowed[1, cut].any()
    assert process.allowed[[0, 2]].all()


def test_data_that_stays_leaves_no_other_place() -> None:
    assert not build(replace(SITUATION, privacy=STAYS_ON_DEVICE)).process.allowed[1:].any()
    grouped = build(replace(SITUATION, privacy=STAYS_IN_GROUP)).process.allowed
    assert not grouped[1].any()
    assert grouped[2].all()


def test_a_move_keeps_those_waiting_that_come_meanwhile() -> None:
    pause = replace(SITUATION, cloud=replace(SITUATION.cloud, warm_up_ms=600), network=(Link(0, 1e6),) * 4, deadline_ms=200)  # type: ignore[type-var]
    built = build(pause)
    cell, rate = built.process.cell(0, 1, 0), SITUATION.load[1]
    assert built.moving_figures[MISSED][0, 1, cell] == pytest.approx(rate * 0.4)
    assert built.moving_figures[WAITED_MS][0, 1, cell] == pytest.approx(1000 * rate * (0.2**2 / 2 + 0.4 * 0.2))
    assert built.process.moving_cost[1, 1].max() == 0


def priced(unsure: float = 0.2, then: float = 0.05, device: float = 0.1, cloud: float = 0.04, worth: float = 800.0) -> Situation:
    """The example, with what answers are worth; its places are the device, the device that then asks, the cloud, and a peer."""
    assert SITUATION.cloud is not None
    return replace(
        SITUATION,
        worth=replace(SITUATION.worth, wrong_answer_ms=worth),
        device=replace(SITUATION.device, error_rate=device),
        cloud=replace(SITUATION.cloud, error_rate=cloud),
        then_cloud=ThenCloud(unsure, then),
    )


def test_without_a_price_no_answer_is_counted() -> None:
    assert WRONG not in build(SITUATION).figures
    wrong = replace(SITUATION, device=replace(SITUATION.device, error_rate=0.5))
    np.testing.assert_array_equal(build(wrong).process.serving_cost, build(SITUATION).process.serving_cost)


def test_a_wrong_answer_costs_its_price() -> None:
    situation = priced()
    built, free = build(situation), build(replace(situation, worth=SITUATION.worth))
    assert built.process.places == ("device", "device_then_cloud", "cloud", "peer:gateway")
    np.testing.assert_allclose(built.process.serving_cost, free.process.serving_cost + 800 * built.figures[WRONG])
    asked, cell = built.figures["requests"][0], built.process.cell(0, 1, 0)
    np.testing.assert_allclose(built.figures[WRONG][0], 0.1 * asked)
    assert built.figures[WRONG][1, cell] == pytest.approx(0.05 * asked[cell], rel=0.02)  # hardly anything is late there
    assert built.figures[WRONG][2, cell] == pytest.approx(0.04 * asked[cell], rel=0.02)


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_who_then_asks_pays_its_own_time_and_that_share_of_asking(unsure: float, then: float, device: float, cloud: float) -> None:
    built = build(priced(unsure, then, device, cloud))
    may = built.process.allowed[1]
    np.testing.assert_array_equal(may, built.process.allowed[2])  # nobody is asked where the network is cut
    own, passing = ({name: it[row, may] for name, it in built.figures.items()} for row in (0, 1))
    assert (passing[WAITED_MS] >= own[WAITED_MS] - 1e-9).all()
    np.testing.assert_array_equal(passing[MISSED], own[MISSED])  # its own answer is there by the deadline
    np.testing.assert_allclose(passing[MONEY], unsure * built.figures[MONEY][2, may], atol=1e-12)
    assert (passing[WRONG] <= max(then, device) * built.figures["requests"][0, may] + 1e-9).all()
    if unsure == 0:
        np.testing.assert_allclose(passing[JOULES], own[JOULES])
    deadline = built.situation.deadline_ms * built.figures["requests"][0, may]
    assert (passing[WAITED_MS] <= deadline + 1e-6).all()


def test_between_the_two_places_of_the_device_only_the_way_to_the_cloud_costs() -> None:
    moving = build(priced(unsure=0.2)).moving_figures
    cell = 0
    to_cloud = {name: it[0, 2, cell] for name, it in moving.items()}
    assert moving[WAITED_MS][0, 1, cell] == pytest.approx(0.2 * to_cloud[WAITED_MS])
    assert to_cloud[MISSED] > 0
    assert moving[MISSED][0, 1, cell] == 0
    assert all(it[1, 0, cell] == 0 for it in moving.values())
    assert all(it[1, 2, cell] == to_cloud[name] for name, it in moving.items())


def test_data_that_stays_asks_nobody_either() -> None:
    assert not build(replace(priced(), privacy=STAYS_IN_GROUP)).process.allowed[[1, 2]].any()


def costs(situation: Situation) -> Process:
    return build(situation).process


@pytest.mark.parametrize(
    "worse",
    [
        {"network": (Link(400, 0.5, 5), *SITUATION.network[1:])},
        {"request_bytes": SITUATION.request_bytes * 10},
        {"joules_per_megabyte": 100.0},
        {"worth": replace(SITUATION.worth, money_ms=1e9)},
    ],
)
def test_what_makes_the_cloud_worse_makes_it_dearer_and_the_device_no_cheaper(worse: dict[str, object]) -> None:
    before, after = costs(SITUATION), costs(replace(SITUATION, **worse))
    assert after.serving_cost[1].sum() > before.serving_cost[1].sum()
    np.testing.assert_allclose(after.serving_cost[0], before.serving_cost[0])


def test_figures_weighed_are_the_costs() -> None:
    built, worth = build(SITUATION), SITUATION.worth
    money = built.figures[MONEY]
    assert money[0].max() == 0
    assert money[1].max() > 0
    rest = replace(SITUATION, worth=replace(worth, money_ms=0))
    np.testing.assert_allclose(built.process.serving_cost, build(rest).process.serving_cost + worth.money_ms * money)


def test_a_slower_class_is_dearer_on_the_device_alone() -> None:
    fast, slow = costs(SITUATION), costs(SITUATION.of_class(2.0))
    assert (slow.serving_cost[0] >= fast.serving_cost[0]).all()  # the same where the faster one is overloaded, too
    assert slow.serving_cost[0].sum() > 1.5 * fast.serving_cost[0].sum()
    np.testing.assert_array_equal(slow.serving_cost[1:], fast.serving_cost[1:])


def test_costs_beyond_all_bounds_are_said_and_not_summed() -> None:
    with pytest.raises(InputError, match="serving_cost"):
        costs(replace(SITUATION, worth=replace(SITUATION.worth, deadline_miss_ms=1e9)))


def test_a_level_lasts_as_long_as_it_says() -> None:
    matrix = wandering((600.0, 60.0, 300.0), 10.0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix[1, 0] == matrix[1, 2] == pytest.approx(leaving(10, 60) / 2)
    assert 1 - matrix[0, 0] == pytest.approx(10 / 600, rel=0.01)
    np.testing.assert_array_equal(wandering((np.inf,), 10.0), [[1.0]])
