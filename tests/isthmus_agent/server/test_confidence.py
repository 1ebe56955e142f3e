"""How sure an answer is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.server.confidence import confidence


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_confidence_of_probabilities_is_that_of_the_least_certain_row(rows: list[list[float]]) -> None:
    table = np.array(rows)
    table /= table.sum(axis=1, keepdims=True)
    assert confidence({"y": table.astype(np.float32)}) == pytest.approx(min(max(row) for row in table.tolist()), rel=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.array([[1.0, -0.5, 0.5]])},
        {"y": np.array([[3.0, 2.0, 1.0]])},
        {"y": np.array([[0.2, 0.2, 0.2]])},
        {"y": np.array([[np.nan, 0.5, 0.5]])},
        {"y": np.array([[1.0]])},
        {"y": np.array([0.5, 0.5])},
        {"y": np.array([[1, 0]])},
        {"y": np.zeros((0, 3))},
        {"y": np.array([[0.5, 0.5]]), "z": np.array([[0.5, 0.5]])},
        {"y": np.array([[b"a", b"b"]], dtype=object)},
    ],
)
def test_what_does_not_look_like_probabilities_has_no_confidence(outputs: dict[str, np.ndarray]) -> None:
    assert confidence(outputs) is None
