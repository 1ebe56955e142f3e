"""The environment of gymnasium: what gymnasium asks of one, and the same costs as everywhere here."""

import numpy as np
import pytest
from tests.migration_processes import process

from isthmus.migration.learning import simulate
from isthmus.migration.learning.stream import stream
from isthmus.migration.learning.traces import traces
from isthmus.migration.solve import solve

gymnasium = pytest.importorskip("gymnasium")
STREAM, TRACE = stream(), traces(300)[1]


def made(it=STREAM.process, trace=TRACE):
    from isthmus.migration.learning.environment import MigrationEnvironment

    return MigrationEnvironment(it, trace)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_own_check_passes():
    from gymnasium.utils.env_checker import check_env

    check_env(made(), skip_render_check=True)


def test_a_policy_costs_in_it_what_it_does_in_the_simulator():
    table = solve(STREAM.process).next_place
    environment = made()
    observed, _ = environment.reset(seed=3)
    rewards, cells, over = [], [int(observed["cell"])], False
    while not over:
        observed, reward, terminated, over, _ = environment.step(np.int64(table[observed["place"], observed["cell"]]))
        assert not terminated
        rewards.append(reward)
        cells.append(int(observed["cell"]))
    scores = np.zeros(len(rewards), dtype=np.intp)
    flat = type(STREAM)(**{**STREAM.__dict__, "cost": np.repeat(STREAM.process.serving_cost[:, :, None], STREAM.cost.shape[2], axis=2)})
    assert np.allclose(-np.array(rewards), simulate.chosen_by(flat, simulate.Drawn(np.array(cells), scores), table))
    assert len(rewards) == TRACE.steps


def test_a_place_that_is_not_allowed_is_not_gone_to():
    it = process(5, levels=(3, 2))
    trace = type(TRACE)("own", (0,), it.transition[None], 200)
    environment, dice = made(it, trace), np.random.default_rng(1)
    observed, info = environment.reset(seed=1)
    for _ in range(200):
        cell, action = int(observed["cell"]), int(dice.integers(3))
        assert np.array_equal(info["allowed"], it.allowed[:, cell])
        observed, _, _, _, info = environment.step(np.int64(action))
        assert it.allowed[observed["place"], cell]
        if it.allowed[action, cell]:
            assert observed["place"] == action


def test_a_seed_draws_the_same_cells():
    first, second = made(), made()
    first.reset(seed=9)
    second.reset(seed=9)
    assert np.array_equal(first._cells, second._cells)
    second.reset()
    assert not np.array_equal(first._cells, second._cells)
