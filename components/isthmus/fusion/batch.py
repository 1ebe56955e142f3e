"""Many examples fused at once: the same answers as `isthmus_agent.core.fusion` gives one by one, by array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.views import Numbers, Views
from isthmus_agent.core.fusion import Fusion, set_aside_at_most
from isthmus_agent.formats.evidence import LEVELS
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import MILLION

Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class FusedExamples:
    """totals: [examples, classes], log-odds. set_aside: [members, examples]."""

    totals: Numbers
    set_aside: Truths

    @property
    def answers(self) -> NDArray[np.int64]:
        """[examples]"""
        return np.asarray(self.totals.argmax(axis=1))

    def log_losses(self, labels: NDArray[np.int64]) -> Numbers:
        """-log of the right class's probability, in nats, [examples]."""
        shifted = self.totals - self.totals.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def evidence_of(group: FusionGroup, views: Views) -> Numbers:
    """What members say on the wire, [members, examples, classes]: calibrated, cut, and in its sixteen levels."""
    scales = np.array([member.scale_millionths / MILLION for member in group.members])
    scaled = scales[:, None, None] * (views.log_probabilities - np.array(group.log_prior))
    below = scaled - scaled.max(axis=2, keepdims=True)
    levels = np.clip(np.floor(-below * LEVELS / group.clip + 0.5), 1, LEVELS)
    np.put_along_axis(levels, below.argmax(axis=2)[..., None], 0, axis=2)
    return np.asarray(-levels * group.clip / LEVELS)


def fused(fusion: Fusion, evidence: Numbers, answered: Truths | None = None) -> FusedExamples:
    """The group's answers.

    Args:
        evidence: [members, examples, classes], as `evidence_of` gives it.
        answered: [members, examples]; None: all have.
    """
    members, examples, _ = evidence.shape
    heard = np.ones((members, examples), np.bool_) if answered is None else answered.copy()
    at_first = heard.copy()
    telling = np.array([member.strength_millionths > 0 for member in fusion.group.members])
    most_left = np.array([set_aside_at_most(range(int(count))) for count in (heard & telling[:, None]).sum(axis=0)])
    looked_at = np.flatnonzero(most_left > 0)
    while len(looked_at):
        gone = np.full(examples, -1)
        for places, rows in alike(heard, looked_at):
            gone[rows] = _most_held_against(fusion, places, evidence[:, rows], telling)
        looked_at = looked_at[gone[looked_at] >= 0]
        heard[gone[looked_at], looked_at] = False
        most_left[looked_at] -= 1
        looked_at = looked_at[most_left[looked_at] > 0]
    totals = np.tile(np.array(fusion.group.log_prior), (examples, 1))
    for places, rows in alike(heard, np.arange(examples)):
        totals[rows] += total(fusion, places, evidence[:, rows])
    return FusedExamples(totals, at_first & ~heard)


def alike(heard: Truths, rows: NDArray[np.int64]) -> list[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """The rows of which the same members are heard, with these."""
    codes = (1 << np.arange(len(heard))) @ heard[:, rows]
    return [(tuple(place for place in range(len(heard)) if int(code) >> place & 1), rows[codes == code]) for code in np.unique(codes)]


def total(fusion: Fusion, places: Sequence[int], evidence: Numbers) -> Numbers:
    """Σ w_i · evidence_i of these places, [examples, classes], without the prior."""
    if not places:
        return np.zeros(evidence.shape[1:])
    return np.asarray(np.tensordot(np.array(fusion.weights_at(tuple(places))), evidence[list(places)], 1))


def _most_held_against(fusion: Fusion, places: tuple[int, ...], evidence: Numbers, telling: Truths) -> NDArray[np.int64]:
    """By example, the member that is set aside next; -1: none."""
    count = evidence.shape[1]
    worst, most = np.full(count, -1), np.full(count, fusion.group.clip)
    for place in places:
        if not telling[place]:
            continue
        held = total(fusion, [other for other in places if other != place], evidence)
        own = evidence[place] == evidence[place].max(axis=1, keepdims=True)
        against = held.max(axis=1) - np.where(own, held, -np.inf).max(axis=1)
        worst, most = np.where(against > most, place, worst), np.maximum(most, against)
    return worst
