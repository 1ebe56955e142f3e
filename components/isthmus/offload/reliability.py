"""The expected calibration error: how far from how often a classifier is right is how sure it says that it is.

    ECE = Σ_b (n_b / N) · |right_b / n_b − mean confidence_b|

over 15 bins of equal width (Guo et al. 2017, section 2). It is never negative, so that it lies above 0 by chance alone also where all is
well: a few points on some hundred examples. The interval is the bootstrap's, of percentiles, from seeded draws: the same on every machine.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.offload.scores import Scores
from isthmus.release.confidences import Estimate

BINS: Final = 15
_DRAWS: Final = 400
_SEED: Final = 7
_PERCENTILES: Final = (2.5, 97.5)
_DECIMALS: Final = 4


def calibration_error(confidences: Scores, right: NDArray[np.bool_]) -> float:
    """The error, in [0, 1]. Both [N], N from 1 on."""
    bins = np.minimum((confidences * BINS).astype(np.intp), BINS - 1)
    return float(np.abs(np.bincount(bins, right - confidences, BINS)).sum()) / len(right)


def estimate(confidences: Scores, right: NDArray[np.bool_]) -> Estimate:
    """The error with its interval."""
    generator, examples = np.random.default_rng(_SEED), len(right)
    draws = (generator.integers(0, examples, examples) for _ in range(_DRAWS))
    low, high = np.percentile([calibration_error(confidences[drawn], right[drawn]) for drawn in draws], _PERCENTILES)
    value = calibration_error(confidences, right)
    return Estimate(round(value, _DECIMALS), round(float(min(low, value)), _DECIMALS), round(float(max(high, value)), _DECIMALS))
