"""A decision process that is not sound cannot be made, and all that is wrong is said at once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.migration_processes import PROCESSES, process, ring

from isthmus.errors import InputError
from isthmus.migration.process import Dimension, Process, product_transition, reachable, stationary

SOUND = process(1, levels=(2, 2))
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "rows that sum to more": ({"transition": np.full((4, 4), 0.3)}, "transition[0]: sums to 1.2 (d0 l0, d1 l0); expected 1"),
    "a negative probability": ({"transition": [[1.5, -0.5, 0, 0]] * 4}, "transition[0]: holds 1.5"),
    "not a number": ({"transition": np.full((4, 4), np.nan)}, "transition[0]: holds nan"),
    "cells that nothing leads to": ({"transition": [[0.5, 0.5, 0, 0]] * 4}, "transition[2]: no cell leads to this one"),
    "groups that never meet": ({"transition": np.kron(np.eye(2), np.full((2, 2), 0.5))}, "falls into 2 groups"),
    "no matrix": ({"transition": "x"}, "transition: found str"),
    "ragged rows": ({"transition": [[1.0], [0.5, 0.5]]}, "transition: found list"),
    "another shape": ({"serving_cost": np.ones((3, 5))}, "serving_cost: has shape (3, 5); expected (3, 4)"),
    "infinite cost": ({"serving_cost": np.full((3, 4), np.inf)}, "serving_cost[0][0]: found inf"),
    "huge cost": ({"serving_cost": np.full((3, 4), 1e300)}, "serving_cost[0][0]: found 1e+300"),
    "a move that pays": ({"moving_cost": -np.ones((3, 3, 4))}, "moving_cost[0][0][0]: found -1"),
    "a stay that costs": ({"moving_cost": np.ones((3, 3, 4))}, "moving_cost[0][0]: staying costs"),
    "truth as numbers": ({"serving_cost": np.ones((3, 4), dtype=bool)}, "serving_cost: found ndarray"),
    "numbers as truth": ({"allowed": np.ones((3, 4))}, "allowed: found ndarray"),
    "a dead cell": ({"allowed": np.zeros((3, 4), dtype=bool)}, "no place is allowed in cell 0"),
    "discount of one": ({"discount": 1.0}, "discount: found 1.0"),
    "discount that is true": ({"discount": True}, "discount: found True"),
    "discount that is no number": ({"discount": float("nan")}, "discount: found nan"),
    "a place twice": ({"places": ("device", "device", "cloud")}, "two places 'device'"),
    "no place": ({"places": ()}, "places: found 0"),
    "a dimension twice": ({"dimensions": (Dimension("a", ("x", "y")),) * 2}, "two dimensions 'a'"),
    "no level": ({"dimensions": (Dimension("a", ()),)}, "dimensions[0].levels: is empty"),
    "edges that fall": ({"dimensions": (Dimension("a", ("x", "y", "z"), (2.0, 1.0)),)}, "dimensions[0].edges: found [2.0, 1.0]"),
    "too few edges": ({"dimensions": (Dimension("a", ("x", "y", "z"), (2.0,)),)}, "dimensions[0].edges: found 1"),
    "a level that is not there": ({"dimensions": (Dimension("a", ("x",), unmeasured=1),)}, "dimensions[0].unmeasured"),
    "too many cells": ({"dimensions": (Dimension("a", tuple(map(str, range(513)))),)}, "make 513 cells"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_a_process_that_is_not_sound_cannot_be_made(which: str) -> None:
    change, said = BROKEN[which]
    with pytest.raises(InputError) as raised:
        replace(SOUND, **change)
    assert said in str(raised.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError) as raised:
        replace(SOUND, transition=np.full((4, 4), 0.3), serving_cost=np.full((3, 4), np.nan), allowed=np.zeros((3, 4), dtype=bool))
    places = {it.path.partition("[")[0] for it in raised.value.problems}
    assert places == {"transition", "serving_cost", "allowed"}


def test_what_it_holds_cannot_be_changed_afterwards() -> None:
    given_costs = np.ones((3, 4))
    made = replace(SOUND, serving_cost=given_costs)
    given_costs[0, 0] = np.nan
    assert made.serving_cost[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        made.serving_cost[0, 0] = 2


@settings(deadline=None)
@given(PROCESSES)
def test_cells_are_the_product_of_the_levels_the_last_dimension_fastest(made: Process) -> None:
    cells = [made.cell_levels(cell) for cell in range(made.shape[1])]
    assert cells == sorted(cells)
    assert [made.cell(*levels) for levels in cells] == list(range(made.shape[1]))


@settings(deadline=None)
@given(PROCESSES)
def test_the_long_run_shares_stay_as_they_are_in_one_step(made: Process) -> None:
    shares = stationary(made.transition)
    np.testing.assert_allclose(shares @ made.transition, shares, atol=1e-12)
    assert shares.sum() == pytest.approx(1)


def test_dimensions_that_move_alone_have_shares_that_multiply() -> None:
    one, other = np.array([[0.9, 0.1], [0.3, 0.7]]), ring(3)
    shares = stationary(product_transition([one, other]))
    np.testing.assert_allclose(shares, np.kron(stationary(one), stationary(other)), atol=1e-12)


def test_a_chain_reaches_what_lies_ahead_of_it_alone() -> None:
    chain = np.eye(5, k=1) + np.diag([0, 0, 0, 0, 1.0])
    np.testing.assert_array_equal(reachable(chain), np.triu(np.ones((5, 5), dtype=bool)))
