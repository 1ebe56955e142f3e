"""The solver against a search that knows nothing of how it works, on the channels that searches get wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from isthmus.compile.quantise.scales import best_scales, min_max_scales

WITHIN = 1.001
RANDOM = np.random.default_rng(11)
SHAPES = {
    "normal": RANDOM.normal(size=(12, 400)),
    "uniform": RANDOM.uniform(-1, 1, size=(12, 400)),
    "heavy tails": RANDOM.standard_t(2, size=(12, 400)),
    "depthwise 3×3": RANDOM.normal(size=(60, 9)),
    "two weights": RANDOM.normal(size=(60, 2)),
    "one weight": RANDOM.normal(size=(20, 1)),
    "one outlier": np.hstack([RANDOM.normal(size=(12, 300)), np.full((12, 1), 60.0)]),
    "one outlier among many": np.hstack([RANDOM.normal(size=(2, 6000)), np.full((2, 1), 500.0)]),
    "mostly zero": RANDOM.normal(size=(12, 200)) * (RANDOM.random((12, 200)) < 0.05) + 1e-3 * np.eye(12, 200),
    "constant": np.full((3, 50), -0.7),
    "signs": RANDOM.choice([-0.3, 0.3], size=(6, 50)),
    "on a coarse grid already": RANDOM.integers(-9, 10, size=(6, 80)) * 0.1,
    "tiny": RANDOM.normal(size=(6, 30)) * 1e-36,
    "denormal": RANDOM.normal(size=(6, 30)) * 1e-41,
    "huge": RANDOM.normal(size=(6, 30)) * 1e37,
}


def error(row: NDArray[np.float64], scales: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Σ(w − s·code)² of one channel for each scale, the weights as multiples of the largest so that nothing underflows."""
    largest = np.abs(row).max()
    row, scales = row / largest, (scales / largest)[:, None]
    return np.square(row - scales * np.clip(np.rint(row / scales), -levels, levels)).sum(axis=1)


def dense_search(row: NDArray[np.float64], levels: int) -> float:
    """The least error on a fine grid of scales, refined twice around its ten best: good to far less than 0.1 %."""
    largest = np.abs(row).max()
    scales = largest / levels * np.geomspace(0.02, 2.2 if levels > 7 else 2.4, 3000)
    step = scales[1] / scales[0] - 1
    for _ in range(3):
        errors = np.concatenate([error(row, part, levels) for part in np.array_split(scales, max(1, scales.size * row.size // 10**6))])
        best = scales[np.argsort(errors)[:10]]
        scales = np.unique(np.concatenate([best, (best[:, None] * (1 + step * np.linspace(-1, 1, 61))).ravel()]))
        step /= 30
    return float(errors.min())


@pytest.mark.parametrize("levels", [127, 7])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_channel_is_worse_than_a_dense_search(shape: str, levels: int) -> None:
    weights = SHAPES[shape].astype(np.float32)
    weights = weights[np.abs(weights).max(axis=1) > 0]
    scales = best_scales(weights, levels)
    assert (scales > 0).all()
    for row, scale in zip(weights.astype(np.float64), scales, strict=True):
        floor = 1e-12 * np.square(row / np.abs(row).max()).sum()
        assert error(row, np.array([scale]), levels)[0] <= WITHIN * dense_search(row, levels) + floor


def test_the_dense_search_would_find_a_scale_that_is_not_the_best() -> None:
    row = SHAPES["depthwise 3×3"][0]
    assert error(row, min_max_scales(row[None], 7), 7)[0] > WITHIN * dense_search(row, 7)


def test_a_channel_of_zeros_gets_a_scale_that_kernels_take() -> None:
    assert best_scales(np.array([[0.0, 0.0], [1.0, -2.0]]), 7).tolist() == [0.5, 0.5]  # codes 2 and −4 are exact
    assert best_scales(np.zeros((2, 5)), 127).tolist() == [1.0, 1.0]
    assert best_scales(np.zeros((2, 0)), 127).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        best_scales(np.array([[1.0, bad]]), 7)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from([7, 127]),
)
def test_no_change_of_the_scale_helps(weights: NDArray[np.float32], levels: int) -> None:
    scales = best_scales(weights, levels)
    for row, scale in zip(weights.astype(np.float64), scales, strict=True):
        if row.any():
            others = scale * np.geomspace(0.3, 3, 400)
            floor = 1e-9 * np.square(row / np.abs(row).max()).sum()
            assert error(row, np.array([scale]), levels)[0] <= error(row, others, levels).min() * (1 + 1e-6) + floor


@pytest.mark.parametrize("levels", [127, 7])
def test_scales_follow_the_weights(levels: int) -> None:
    weights = SHAPES["normal"]
    assert best_scales(-3 * weights, levels) == pytest.approx(3 * best_scales(weights, levels), rel=1e-9)
    one_by_one = [best_scales(row[None], levels)[0] for row in weights]
    assert best_scales(weights, levels) == pytest.approx(one_by_one, rel=1e-9)
