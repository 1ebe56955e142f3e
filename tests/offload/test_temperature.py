"""The temperature of maximum likelihood."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from isthmus.offload import reliability, temperature
from isthmus.offload.scores import confidences, logits_of
from isthmus_agent.formats.scores import LOGITS


def drawn(seed: int, examples: int = 400, classes: int = 5, true: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn by softmax(logits / true)."""
    generator = np.random.default_rng(seed)
    table = generator.normal(0, 3, (examples, classes))
    shares = special.softmax(table / true, axis=1)
    labels = (shares.cumsum(axis=1) > generator.random((examples, 1))).argmax(axis=1)
    return logits_of(table, LOGITS, 0.0), labels


def likelihood(logits: np.ndarray, labels: np.ndarray, of: float) -> float:
    return float(-special.log_softmax(logits / of, axis=1)[np.arange(len(labels)), labels].mean())


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.3, 5))
def test_it_is_where_scipy_finds_the_least_negative_log_likelihood(seed: int, true: float) -> None:
    logits, labels = drawn(seed, true=true)
    best = optimize.minimize_scalar(lambda beta: likelihood(logits, labels, 1 / beta), bounds=(0.05, 20), method="bounded")
    assert temperature.fit(logits, labels) == pytest.approx(1 / best.x, rel=0.01)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_it_finds_the_temperature_that_labels_were_drawn_by(true: float) -> None:
    assert temperature.fit(*drawn(1, examples=20_000, true=true)) == pytest.approx(true, rel=0.05)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.3, 5))
def test_it_makes_no_calibration_worse_on_what_it_was_fitted_to_beyond_noise(seed: int, true: float) -> None:
    logits, labels = drawn(seed, true=true)
    right = logits.argmax(axis=1) == labels
    before, after = (reliability.calibration_error(confidences(logits, of), right) for of in (1.0, temperature.fit(logits, labels)))
    assert after <= before + 0.05  # of 400 examples in 15 bins: what chance alone makes
    assert likelihood(logits, labels, temperature.fit(logits, labels)) <= likelihood(logits, labels, 1.0) + 1e-5


def test_what_is_too_sure_is_made_as_sure_as_it_is_right() -> None:
    logits, labels = drawn(3, examples=5000, true=3.0)
    right = logits.argmax(axis=1) == labels
    assert reliability.calibration_error(confidences(logits, 1.0), right) > 0.2
    assert reliability.calibration_error(confidences(logits, temperature.fit(logits, labels)), right) < 0.03


EYE = np.eye(3)[[0, 1, 2, 0, 1]] * 4 - 4


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        pytest.param(EYE, [0, 1, 2, 0, 1], 1.0, id="all are right"),
        pytest.param(EYE, [1, 2, 0, 1, 2], temperature.MOST, id="all are wrong"),
        pytest.param(EYE, [0, 0, 0, 0, 0], float(f"{4 / np.log(4 / 3):.3g}"), id="all labels are one class, and two of five are right"),
        pytest.param(np.zeros((5, 3)), [0, 1, 2, 0, 1], 1.0, id="every answer is the same"),
        pytest.param(EYE[:1], [0], 1.0, id="one example"),
        pytest.param(logits_of(np.array([[0, -np.inf], [0, -np.inf]]), LOGITS, 0.0), [0, 1], temperature.MOST, id="minus infinity"),
    ],
)
def test_where_nothing_can_be_told_it_says_so_by_a_bound_or_by_one(logits: np.ndarray, labels: list[int], expected: float) -> None:
    assert temperature.fit(np.asarray(logits, np.float64), np.array(labels)) == expected


def test_it_has_three_digits_so_that_last_bits_do_not_count() -> None:
    logits, labels = drawn(5)
    found = temperature.fit(logits, labels)
    assert found == float(f"{found:.3g}")
    assert temperature.fit(logits * (1 + 1e-9), labels) == found
