"""The expected calibration error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.offload.reliability import BINS, calibration_error, estimate

TABLES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def by_hand(sure: np.ndarray, right: np.ndarray) -> float:
    """Bin by bin, as the formula has it."""
    found = 0.0
    for index in range(BINS):
        inside = (sure >= index / BINS) & ((sure < (index + 1) / BINS) | (index == BINS - 1))
        if inside.any():
            found += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return float(found)


@given(TABLES)
def test_it_is_the_formula_s(table: list[tuple[float, bool]]) -> None:
    sure, right = np.array([it for it, _ in table]), np.array([it for _, it in table])
    edges = np.abs(sure * BINS - np.round(sure * BINS)) < 1e-9
    sure[edges] = 0.5  # on an edge between two bins rounding decides
    assert calibration_error(sure, right) == pytest.approx(by_hand(sure, right), abs=1e-12)


def test_who_is_always_right_and_sure_errs_by_nothing_and_who_is_never_right_by_all() -> None:
    sure = np.ones(10)
    assert calibration_error(sure, np.ones(10, bool)) == 0
    assert calibration_error(sure, np.zeros(10, bool)) == 1


@settings(max_examples=20)
@given(TABLES)
def test_the_interval_holds_the_value_and_is_the_same_each_time(table: list[tuple[float, bool]]) -> None:
    sure, right = np.array([it for it, _ in table]), np.array([it for _, it in table])
    found = estimate(sure, right)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert estimate(sure, right) == found


def test_more_examples_make_it_narrower() -> None:
    generator = np.random.default_rng(2)
    sure = generator.uniform(0.4, 1, 8000)
    right = generator.random(8000) < sure
    few, many = estimate(sure[:200], right[:200]), estimate(sure, right)
    assert many.high - many.low < (few.high - few.low) / 2
    assert many.value < 0.03
