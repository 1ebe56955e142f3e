"""How alike members err: the correlations of their errors, shrunk as few examples ask for."""

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.views import Numbers
from isthmus_agent.formats.definite import LEAST_PIVOT
from isthmus_agent.formats.fusion_group import MOST_CORRELATION_MILLIONTHS
from isthmus_agent.formats.numbers import MILLION

_STEP = 0.02
# No pivot is below it, also when the correlations have been rounded to millionths.
_LEAST_EIGENVALUE = 2 * LEAST_PIVOT


def errors_of(evidence: Numbers, labels: NDArray[np.int64]) -> Numbers:
    """What is left of evidence [members, examples, classes] once the mean of what a member says for the right class is taken off.

    Evidence is a difference between classes: each example's is taken from its mean over the classes first.
    """
    _, examples, classes = evidence.shape
    centred = evidence - evidence.mean(axis=2, keepdims=True)
    unit = np.full((examples, classes), -1 / classes)
    unit[np.arange(examples), labels] += 1
    means = np.einsum("mnk,nk->m", centred, unit) / np.einsum("nk,nk->", unit, unit)
    return np.asarray(centred - means[:, None, None] * unit)


def correlations(errors: Numbers) -> Numbers:
    """[members, members], each 0 to 0.98 and definite together. errors: as `errors_of` gives them.

    What was counted is drawn to its mean by as much as it varies from example to example against how much pairs differ (Schäfer and
    Strimmer 2005, target F: one correlation for all pairs). Negative ones are taken for 0: they would let two members that seem to
    make up for each other weigh more than both say.
    """
    members, examples, classes = errors.shape
    if members == 1:
        return np.ones((1, 1))
    deviations = np.sqrt(np.einsum("mnk,mnk->m", errors, errors) / (examples * (classes - 1)))
    standard = errors / np.where(deviations > 0, deviations, 1)[:, None, None]
    products = np.einsum("ank,bnk->abn", standard, standard) / (classes - 1)
    counted = products.mean(axis=2)
    pairs = ~np.eye(members, dtype=bool)
    mean = float(counted[pairs].mean())
    variance = products.var(axis=2, ddof=1)[pairs].sum() / examples
    spread = float(((counted[pairs] - mean) ** 2).sum())
    drawn = min(1.0, float(variance) / spread) if spread > 0 else 1.0
    found = np.clip((1 - drawn) * counted + drawn * mean, 0, MOST_CORRELATION_MILLIONTHS / MILLION)
    np.fill_diagonal(found, 1)
    # What is cut off may leave correlations that cannot be together: they are made smaller until they can.
    while float(np.linalg.eigvalsh(found)[0]) < _LEAST_EIGENVALUE:
        found[pairs] *= 1 - _STEP
    return np.asarray(found)
