"""Small definite matrices are factored and solved as numpy does it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import definite


@given(st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_a_definite_matrix_is_solved_as_numpy_solves_it(count, seed):
    random = np.random.default_rng(seed)
    half, right = random.normal(size=(count, count)), random.normal(size=count)
    matrix = half @ half.T / count + np.eye(count)
    assert definite.solve(matrix.tolist(), right.tolist()) == pytest.approx(np.linalg.solve(matrix, right), abs=1e-9)


@pytest.mark.parametrize("matrix", [[[0.0]], [[-1.0]], [[float("nan")]], [[1, 1], [1, 1]], [[1, 0, 0.9], [0, 1, 0.9], [0.9, 0.9, 1]]])
def test_a_matrix_that_is_not_definite_has_no_factor(matrix):
    assert definite.factor(matrix) is None
    with pytest.raises(ValueError, match="not positive definite"):
        definite.solve(matrix, [1.0] * len(matrix))
