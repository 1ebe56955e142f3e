"""How alike members err is measured as it is, and the matrix can always be solved with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.fusion.correlation import correlations, errors_of
from isthmus_agent.formats.definite import factor


@pytest.mark.parametrize("true", [0.0, 0.3, 0.7])
def test_a_correlation_is_measured_as_it_was_made(true, members):
    views = members([2, 2, 2], true, examples=4000)
    found = correlations(errors_of(views.log_probabilities, views.labels))
    assert found[np.tril_indices(3, -1)] == pytest.approx([true] * 3, abs=0.06)


def test_a_members_copy_errs_as_it_does():
    random = np.random.default_rng(0)
    said = random.normal(size=(300, 4))
    found = correlations(errors_of(np.stack([said, said, random.normal(size=(300, 4))]), np.arange(300) % 4))
    assert found[1, 0] > 0.9
    assert found[2, 0] < 0.1


def test_members_who_make_up_for_each_other_count_as_apart():
    said = np.random.default_rng(0).normal(size=(300, 4))
    assert correlations(errors_of(np.stack([said, -said]), np.arange(300) % 4))[0, 1] == 0


def test_what_all_classes_share_and_what_is_said_for_the_right_one_is_no_error():
    labels = np.arange(30) % 3
    said = 5.0 * np.eye(3)[labels] + np.arange(30)[:, None]
    assert errors_of(said[None], labels) == pytest.approx(0, abs=1e-9)


@given(st.integers(1, 16), st.integers(30, 60), st.integers(0, 10_000), st.floats(0, 1))
def test_the_matrix_can_always_be_solved_with(count, examples, seed, alike):
    random = np.random.default_rng(seed)
    said = random.normal(size=(count, examples, 3)) * (1 - alike) + alike * random.normal(size=(2, examples, 3))[np.arange(count) % 2]
    said[: count // 4] = 0  # some say nothing
    found = correlations(errors_of(said, np.arange(examples) % 3))
    assert factor(found.tolist()) is not None
    assert ((found >= 0) & (found <= 1)).all()
