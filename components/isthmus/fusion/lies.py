"""What a member that lies may say, instead of what it saw.

A *blind* liar knows the right class and names another, in turns; it knows nothing of what the others say: a broken or swapped sensor, a
model that was tampered with. The *worst* one knows the others' answers too, and names the wrong class to which they lean most: what an
attacker could do who reads all of the group's messages in time. No member can do more with one answer. The *stealthy* one does so where it
turns the group's answer, and says what it sees everywhere else. `LIES` has them all. Each lie is as sure as can be, but for the inverted
one, which turns round what it sees.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.batch import Truths, fused
from isthmus.fusion.views import Numbers
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats.evidence import LEVELS

Labels = NDArray[np.int64]
Lies = Callable[[Fusion, Numbers, Labels, int, Truths], Numbers]
"""(fusion, evidence, labels, liar, answered) → the evidence [members, examples, classes] with the liar's in its place. answered:
[members, examples], who has; nobody but the worst and the stealthy one looks at it."""
_RUN = 20


def blind_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    classes = evidence.shape[2]
    return _lied(fusion, evidence, liar, (labels + 1 + np.arange(len(labels)) % (classes - 1)) % classes)


def worst_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    others = answered.copy()
    others[liar] = False
    totals = fused(fusion, evidence, others).totals.copy()
    totals[np.arange(len(labels)), labels] = -np.inf
    return _lied(fusion, evidence, liar, totals.argmax(axis=1))


def stuck_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    """The same class always, another one of each liar."""
    return _lied(fusion, evidence, liar, np.full(len(labels), liar % evidence.shape[2]))


def random_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    """Any class, by dice of one seed a liar."""
    return _lied(fusion, evidence, liar, np.random.default_rng(liar).integers(0, evidence.shape[2], len(labels)))


def inverted_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    """What is likely as unlikely, and the other way round."""
    said = evidence[liar]
    turned = _lied(fusion, evidence, liar, said.argmin(axis=1))
    step = fusion.group.clip / LEVELS
    others = np.minimum(-fusion.group.clip - said, -step)  # none but one class is at 0 on the wire
    turned[liar] = np.where(turned[liar] == 0, 0.0, others)
    return turned


def half_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    """Blind ones every other time."""
    return _where(np.arange(len(labels)) % 2 == 0, blind_lies(fusion, evidence, labels, liar, answered), evidence)


def lies_by_turns(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    """The truth for twenty answers, then blind lies for twenty, and so on."""
    return _where(np.arange(len(labels)) // _RUN % 2 == 1, blind_lies(fusion, evidence, labels, liar, answered), evidence)


def stealthy_lies(fusion: Fusion, evidence: Numbers, labels: Labels, liar: int, answered: Truths) -> Numbers:
    lied = worst_lies(fusion, evidence, labels, liar, answered)
    turned = (fused(fusion, evidence, answered).answers == labels) & (fused(fusion, lied, answered).answers != labels)
    return _where(turned, lied, evidence)


LIES: Final[Mapping[str, Lies]] = {
    "blind": blind_lies,
    "stuck": stuck_lies,
    "random": random_lies,
    "inverted": inverted_lies,
    "every other time": half_lies,
    "by turns": lies_by_turns,
    "worst": worst_lies,
    "stealthy": stealthy_lies,
}


def _where(lies: NDArray[np.bool_], lied: Numbers, evidence: Numbers) -> Numbers:
    """lies: [examples]."""
    return np.where(lies[:, None], lied, evidence)


def _lied(fusion: Fusion, evidence: Numbers, liar: int, named: Labels) -> Numbers:
    lied = evidence.copy()
    lied[liar] = -fusion.group.clip
    lied[liar, np.arange(len(named)), named] = 0.0
    return lied
