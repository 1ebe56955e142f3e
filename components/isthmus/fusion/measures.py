"""Shares and differences with their intervals, and what a share of right answers says of a member."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_MOST_DISTANCE: Final = 12.0


@dataclass(frozen=True)
class Estimate:
    """value, with the interval [low, high] that holds the true one with 95 %. Shares, or differences of shares."""

    value: float
    low: float
    high: float


def share(right: NDArray[np.bool_]) -> Estimate:
    """Of right answers, with Wilson's interval (1927). right: [examples]."""
    count, found = len(right), float(np.mean(right))
    middle = (found + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * float(np.sqrt(found * (1 - found) / count + _Z**2 / (4 * count**2)))
    return Estimate(found, max(0.0, middle - half), min(1.0, middle + half))


def difference(differences: NDArray[np.float64]) -> Estimate:
    """The mean of differences [examples], each of one example and in [-1, 1].

    The interval is Agresti and Min's for pairs (2005): as if two more examples had been seen, a half of each of 1, -1, 0 and 0, so that
    none is certain where no example differs.
    """
    count = len(differences) + 2
    mean = float(differences.sum()) / count
    variance = (float((differences**2).sum()) + 1) / count - mean**2
    half = _Z * float(np.sqrt(variance / count))
    return Estimate(float(differences.mean()), max(-1.0, mean - half), min(1.0, mean + half))


def strength(accuracy: float, classes: int) -> float:
    """d′²: how far, squared and in standard deviations, the right class stands from the others, for a share of right answers.

    Signal detection's equation of m alternatives (Green and Swets 1966): accuracy = ∫ φ(x - d′) Φ(x)^(m - 1) dx, by Gauss and Hermite,
    turned round by bisection. 0 at chance and below; 144 at the most.
    """
    low, high = 0.0, _MOST_DISTANCE
    for _ in range(50):
        middle = (low + high) / 2
        if _accuracy(middle, classes) < accuracy:
            low = middle
        else:
            high = middle
    return high**2 if accuracy > 1 / classes else 0.0


def _accuracy(distance: float, classes: int) -> float:
    below = np.array([NormalDist().cdf(node + distance) for node in _NODES])
    return float(np.sum(_NODE_WEIGHTS * below ** (classes - 1)) / np.sum(_NODE_WEIGHTS))
