"""What a member that lies may say, instead of what it saw. Each lie is as sure as can be.

A *blind* liar knows the right class and names another, in turns; it knows nothing of what the others say: a broken or swapped sensor, a
model that was tampered with. The *worst* one knows the others' answers too, and names the wrong class to which they lean most: what an
attacker could do who reads all of the group's messages in time. No member can do more.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.batch import Truths, fused
from isthmus.fusion.views import Numbers
from isthmus_agent.core.fusion import Fusion


def blind_lies(fusion: Fusion, evidence: Numbers, labels: NDArray[np.int64], liar: int, answered: Truths) -> Numbers:
    """The evidence [members, examples, classes] with a blind liar's in its place."""
    classes = evidence.shape[2]
    return _lied(fusion, evidence, liar, (labels + 1 + np.arange(len(labels)) % (classes - 1)) % classes)


def worst_lies(fusion: Fusion, evidence: Numbers, labels: NDArray[np.int64], liar: int, answered: Truths) -> Numbers:
    """The same, with the worst liar's. answered: [members, examples], which others have."""
    others = answered.copy()
    others[liar] = False
    totals = fused(fusion, evidence, others).totals.copy()
    totals[np.arange(len(labels)), labels] = -np.inf
    return _lied(fusion, evidence, liar, totals.argmax(axis=1))


def _lied(fusion: Fusion, evidence: Numbers, liar: int, named: NDArray[np.int64]) -> Numbers:
    lied = evidence.copy()
    lied[liar] = -fusion.group.clip
    lied[liar, np.arange(len(named)), named] = 0.0
    return lied
