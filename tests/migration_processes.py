"""Processes for tests: small ones, drawn or by a seed, that are sound."""

import numpy as np
from hypothesis import strategies as st

from isthmus.migration.process import Dimension, Process, product_transition


def ring(levels: int, change: float = 0.2) -> np.ndarray:
    """A level that goes one up or down, each with this probability."""
    matrix = np.eye(levels) * (1 - 2 * change)
    for level in range(levels):
        matrix[level, max(level - 1, 0)] += change
        matrix[level, min(level + 1, levels - 1)] += change
    return matrix


def process(
    seed: int, places: tuple[str, ...] = ("device", "cloud", "peer:camera"), levels: tuple[int, ...] = (3, 2), discount: float = 0.9
) -> Process:
    """One whose costs are drawn; the device is allowed in every cell, the other places in most."""
    dice = np.random.default_rng(seed)
    transition = product_transition([ring(count, dice.uniform(0.05, 0.4)) for count in levels])
    cells, count = len(transition), len(places)
    moving = dice.uniform(0, 12, (count, count, cells))
    moving[np.arange(count), np.arange(count)] = 0
    allowed = dice.random((count, cells)) < 0.85
    allowed[0] = True
    dimensions = tuple(Dimension(f"d{axis}", tuple(f"l{level}" for level in range(it))) for axis, it in enumerate(levels))
    return Process(places, dimensions, transition, dice.uniform(0, 20, (count, cells)), moving, allowed, discount)


PROCESSES = st.builds(
    process,
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([(1,), (2,), (3, 2), (2, 2, 2)]),
    discount=st.sampled_from([0.1, 0.9, 0.99]),
)
