"""Temperature scaling: one number by which logits are divided, so that a classifier is right as often as it is sure.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2. The temperature is the
one of maximum likelihood on held-out examples. In β = 1/T the negative log-likelihood

    L(β) = Σ_i [log Σ_k e^{β z_ik} − β z_iy],   L'(β) = Σ_i [Σ_k softmax(β z_i)_k z_ik − z_iy]

is convex (a log-sum-exp of what is linear in β, less what is linear), so that its derivative grows and has one root at most. Classes keep
their order, whatever T is: no answer changes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.offload.scores import Scores

LEAST, MOST = 0.05, 20.0
"""Of T. Where the likelihood only grows towards a bound, the bound is taken."""
_HALVINGS: Final = 50
_MOST_EXAMPLES: Final = 10_000
"""That are looked at, evenly spread: by so many the temperature is known to a hundredth, and memory is bounded."""
_DIGITS: Final = 3


def fit(logits: Scores, labels: NDArray[np.int64]) -> float:
    """The temperature, with three digits.

    1, which changes nothing, where every example is answered right by a margin: then any confidence, however high, is borne out, and
    nothing tells how far to trust it. MOST where answers are no better than chance: no confidence is borne out.

    Args:
        logits: [N, classes], each row's largest 0; N from 1 on.
        labels: the right class of each, [N].
    """
    every = -(-len(logits) // _MOST_EXAMPLES)
    logits, labels = logits[::every], labels[::every]
    right = logits[np.arange(len(logits)), labels]
    if _slope(1 / LEAST, logits, right) <= 0:
        return 1.0
    low, high = np.log(1 / MOST), np.log(1 / LEAST)
    if _slope(1 / MOST, logits, right) >= 0:
        return MOST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(np.exp(middle), logits, right) < 0:
            low = middle
        else:
            high = middle
    return float(f"{np.exp(-(low + high) / 2):.{_DIGITS}g}")


def _slope(beta: float, logits: Scores, right: Scores) -> float:
    """L'(β). right: the logits of the right classes, [N]."""
    weights = np.exp(beta * logits)
    expected = (weights * logits).sum(axis=1) / weights.sum(axis=1)
    return float((expected - right).sum())
