"""Traces: their matrices are stochastic, their cells follow them, and a seed is a seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.migration.learning.traces import DRIFT_STEPS, PLANNED, Way, holding, matrix_of, traces
from isthmus.migration.process import stationary

TEN = traces(400)


def test_there_are_ten_with_different_names():
    assert len({it.name for it in TEN}) == len(TEN) == 10


@pytest.mark.parametrize("trace", TEN, ids=lambda it: it.name)
def test_every_matrix_is_stochastic_and_the_spans_cover_the_trace(trace):
    assert np.allclose(trace.matrices.sum(axis=2), 1)
    assert (trace.matrices >= 0).all()
    spans = trace.spans()
    assert [start for start, _, _ in spans] == [0, *(end for _, end, _ in spans[:-1])]
    assert spans[-1][1] == trace.steps
    for start, end, matrix in spans:
        assert trace.matrix_at(start) is not None
        assert np.array_equal(trace.matrix_at(start), matrix)
        assert np.array_equal(trace.matrix_at(end - 1), matrix)


def test_a_seed_gives_the_same_cells_and_another_one_others():
    assert np.array_equal(TEN[2].cells(5), TEN[2].cells(5))
    assert not np.array_equal(TEN[2].cells(5), TEN[2].cells(6))


def test_cells_follow_the_matrix():
    trace = traces(8_000)[0]
    cells = trace.cells(1)
    shares = np.bincount(cells, minlength=trace.matrices.shape[1]) / len(cells)
    assert abs(shares - stationary(trace.matrices[0])).sum() < 0.25
    assert (cells[1:] == cells[:-1]).mean() == pytest.approx(float(stationary(trace.matrices[0]) @ trace.matrices[0].diagonal()), abs=0.02)


@settings(max_examples=30)
@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4), st.floats(0, 0.99))
def test_the_shares_are_the_long_run_ones(shares, hold):
    assert np.allclose(stationary(holding(shares, hold)), np.array(shares) / sum(shares))


def test_halfway_to_another_way_lies_between_the_two():
    near, far = Way((0.2, 0.8), 0.9), Way((0.6, 0.4), 0.99)
    assert near.towards(far, 0.0).shares == pytest.approx(near.shares)
    assert near.towards(far, 1.0).hold == pytest.approx(far.hold)
    assert 0.9 < near.towards(far, 0.5).hold < 0.99


def test_only_the_first_is_as_planned_throughout():
    planned = matrix_of(PLANNED)
    same = [np.allclose(trace.matrices, planned) for trace in traces(50 * DRIFT_STEPS)]
    assert same == [True] + [False] * 9
