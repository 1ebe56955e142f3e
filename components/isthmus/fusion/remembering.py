"""Many examples in the order in which they come, fused by somebody who remembers: the same answers as `isthmus_agent.core.trust` gives one
by one, by array. As long as nobody is newly distrusted, and nobody newly heard, all that follow are reckoned at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.batch import FusedExamples, Truths, alike, fused, total
from isthmus.fusion.views import Numbers
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.core.trust import Memory, right_shares


@dataclass(frozen=True)
class Remembered:
    """fused: of all examples. heard: [members, examples], who was. memory: after the last one."""

    fused: FusedExamples
    heard: Truths
    memory: Memory


def remembered(fusion: Fusion, evidence: Numbers, answered: Truths, memory: Memory | None = None) -> Remembered:
    """The group's answers by one who begins with a memory (None: a new one). evidence, answered: as for `fused`."""
    memory = memory or Memory.new(len(evidence))
    telling = answered & (np.array([it.strength_millionths for it in fusion.group.members]) > 0)[:, None]
    heard = answered.copy()
    known: dict[frozenset[int], Numbers] = {}
    for example in range(evidence.shape[1]):
        out = sorted(memory.out)
        if memory.out not in known:
            known[memory.out] = _against(fusion, evidence, telling, out)
        if np.delete(answered[:, example], out).any():
            heard[out, example] = False
        found = known[memory.out][:, example]
        memory = memory.after({int(place): float(found[place]) for place in np.flatnonzero(~np.isnan(found))})
    return Remembered(fused(fusion, evidence, heard), heard, memory)


def _against(fusion: Fusion, evidence: Numbers, telling: Truths, out: Sequence[int]) -> Numbers:
    """What each answer says against the member, as `isthmus_agent.core.trust.against` has it, [members, examples]; NaN: nothing."""
    found, shares = np.full(telling.shape, np.nan), right_shares(fusion.group)
    prior, everything = np.array(fusion.group.log_prior), np.arange(telling.shape[1])
    for places, rows in alike(telling, everything):
        for place in places:
            others = [other for other in places if other != place and other not in out]
            if len(others) > 1:
                held = prior + total(fusion, others, evidence[:, rows])
                found[place, rows] = _said(held, evidence[place, rows].argmax(axis=1), shares[place])
    return found


def _said(held: Numbers, named: NDArray[np.int64], right: float) -> Numbers:
    """held: [examples, classes]. named: [examples]."""
    rows, classes = np.arange(len(held)), held.shape[1]
    powers = np.exp(held - held.max(axis=1, keepdims=True))
    q = powers[rows, named] / powers.sum(axis=1)
    others = held.copy()
    others[rows, held.argmax(axis=1)] = -np.inf
    elsewhere = (1 - q) / (classes - 1)
    lies = (1 / classes + elsewhere + (named == others.argmax(axis=1))) / 3
    return np.asarray(np.log(lies / (right * q + (1 - right) * elsewhere)))
