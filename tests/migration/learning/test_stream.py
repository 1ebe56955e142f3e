"""The stream, its rivals and the simulator: one account for all."""

import numpy as np
import pytest

from isthmus.migration.learning import rivals, simulate
from isthmus.migration.learning.rivals import H2T2
from isthmus.migration.learning.stream import LEVELS, PLACES, UNSURE, Prices, stream
from isthmus.migration.learning.traces import traces
from isthmus.migration.solve import solve
from isthmus_agent.formats.policy import CLOUD, DEVICE

STREAM = stream()
DRAWN = simulate.drawn(STREAM, traces(600)[0], 1)


class Always:
    """A learner that learns nothing."""

    def __init__(self, next_place):
        self._next_place = next_place

    def place(self, place, cell):
        return int(self._next_place[place, cell])

    def saw(self, place, cell, chosen, cost, following):
        assert cost > 0


def test_a_policy_costs_the_same_whether_it_is_a_table_a_table_a_step_or_a_learner():
    table = solve(STREAM.process).next_place
    by_table = simulate.chosen_by(STREAM, DRAWN, table)
    assert np.allclose(by_table, simulate.chosen_by(STREAM, DRAWN, np.repeat(table[None], 600, axis=0)))
    assert np.allclose(by_table, simulate.learned(STREAM, DRAWN, Always(table))[0])


@pytest.mark.parametrize("place", range(4))
def test_always_one_place_moves_once(place):
    costs = simulate.always(STREAM, DRAWN, place)
    assert np.allclose(costs, simulate.chosen_by(STREAM, DRAWN, np.full(STREAM.process.shape, place)))


def test_serving_costs_are_the_means_over_scores():
    assert np.allclose(STREAM.process.serving_cost, (STREAM.cost * STREAM.score_shares).sum(axis=2))
    assert np.allclose(STREAM.score_shares.sum(axis=1), 1)
    drawn = STREAM.score_levels(np.zeros(20_000, dtype=int), 1)
    assert np.allclose(np.bincount(drawn, minlength=LEVELS) / 20_000, STREAM.score_shares[0], atol=0.01)


def test_thresholds_that_never_ask_are_the_device_and_those_of_the_stream_its_second_place():
    never = STREAM.threshold_cost(np.zeros(LEVELS, dtype=bool))
    assert np.allclose(never, STREAM.cost[PLACES.index(DEVICE)])
    unsure = STREAM.cost[PLACES.index(UNSURE)] != never
    assert np.allclose(STREAM.threshold_cost(unsure[0]), STREAM.cost[PLACES.index(UNSURE)])


def test_the_cloud_is_right_more_often_than_the_device_but_where_the_network_is_cut():
    device, cloud = (STREAM.accuracy[PLACES.index(it)] for it in (DEVICE, CLOUD))
    assert np.allclose(device[STREAM.is_cut], cloud[STREAM.is_cut])
    assert (cloud[~STREAM.is_cut] > device[~STREAM.is_cut]).all()
    assert (STREAM.late[PLACES.index(CLOUD)][STREAM.is_cut] == 1).all()


def test_sedna_asks_for_the_scores_in_the_middle_and_for_more_of_them_with_a_higher_threshold():
    asked = [rivals.sedna(STREAM, threshold) for threshold in (0.0, 0.2, 0.5, 0.99)]
    assert [it.sum() for it in asked] == sorted(it.sum() for it in asked)
    assert not asked[0].any()
    for it in asked:
        assert np.array_equal(it, it[::-1])


def test_h2t2_comes_near_the_best_pair_of_thresholds_where_the_cost_of_asking_is_the_same_in_every_cell():
    even = stream(Prices(device_ms=(20.0, 20.0), link_ms=(40.0, 40.0, 40.0, 40.0), cloud_ms=(10.0, 10.0)))
    cells = np.full((4000, 4), int(np.flatnonzero(~even.is_cut)[2]))
    scores = even.score_levels(cells.ravel(), 1).reshape(cells.shape)
    rule = H2T2(even, 4, explore=0.05, rate=0.5)
    costs = np.array([rule.step(*now) for now in zip(cells, scores, strict=True)])
    best = min(
        even.threshold_cost((np.arange(LEVELS) >= low) & (np.arange(LEVELS) < high))[cells, scores].mean()
        for low in range(LEVELS + 1)
        for high in range(low, LEVELS + 1)
    )
    assert costs[-1000:].mean() < 1.1 * best
    assert costs[:300].mean() > costs[-1000:].mean()


def test_h2t2_learns_nothing_about_its_own_answers_while_the_cloud_is_away():
    cut = np.full(3, int(np.flatnonzero(STREAM.is_cut)[0]))
    rule = H2T2(STREAM, 3, explore=1.0, rate=0.5)
    for _ in range(200):
        rule.step(cut, np.array([0, 8, 15]))
    never_asks = np.exp(rule._log_weights)[:, np.arange(LEVELS + 1), np.arange(LEVELS + 1)]
    assert np.allclose(never_asks, never_asks[:, :1])
