"""From what members answered to the group's file: temperatures, strengths, correlations, and where evidence is cut."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.batch import evidence_of, fused
from isthmus.fusion.correlation import correlations, errors_of
from isthmus.fusion.lies import worst_lies
from isthmus.fusion.measures import share, strength
from isthmus.fusion.views import Numbers, Views
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats.fusion_group import (
    MOST_CLIP_MILLINATS,
    MOST_PRIOR_MILLINATS,
    MOST_SCALE_MILLIONTHS,
    MOST_STRENGTH_MILLIONTHS,
    THOUSAND,
    FusionGroup,
    Member,
)
from isthmus_agent.formats.numbers import MILLION

CLIPS_NATS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Of these the least is taken whose log-loss is above the best one's by no more than a standard error of that (Breiman et al. 1984): what
cannot be told from the best, and bounds a liar most. Half of the loss is with all members honest, half with the one that lies in the worst
way whose lies are the dearest. In a group of two nobody is outvoted: the best is taken, with both honest."""
_MOST_SCALE: Final = MOST_SCALE_MILLIONTHS / MILLION


@dataclass(frozen=True)
class Measured:
    """One member. scale: one over its temperature. strength: d′². Both are 0 for one that is not shown to be better than always naming the
    most frequent class, with 95 % (Wilson)."""

    scale: float
    strength: float


def learn(views: Views, release: str, clip_nats: float | None = None) -> FusionGroup:
    """The group's file. release: the digest of what gave these answers. clip_nats: None: the one of CLIPS_NATS that
    these examples speak for."""
    log_prior = _log_prior(views)
    measured = [measure(views, place, np.array(log_prior) / THOUSAND) for place in range(len(views.members))]
    members = tuple(
        Member(
            name,
            min(round(it.scale * MILLION), MOST_SCALE_MILLIONTHS),
            min(round(it.strength * MILLION), MOST_STRENGTH_MILLIONTHS),
        )
        for name, it in zip(views.members, measured, strict=True)
    )
    apart = tuple((0,) * place for place in range(len(members)))
    first = FusionGroup(release, MOST_CLIP_MILLINATS, members, apart, log_prior)
    if clip_nats is not None:
        return _clipped(first, clip_nats, views)
    groups = [_clipped(first, clip, views) for clip in CLIPS_NATS]
    losses = [_losses(group, views) for group in groups]
    best = min(losses, key=lambda it: float(it.mean()))
    if len(members) < 3:
        return groups[next(place for place, it in enumerate(losses) if it is best)]
    most = float(best.mean() + best.std(ddof=1) / np.sqrt(len(best)))
    return next(group for group, it in zip(groups, losses, strict=True) if it.mean() <= most)


def measure(views: Views, place: int, log_prior: Numbers) -> Measured:
    """What one member's answers say of it alone."""
    right = views.right[place]
    if share(right).low <= float(np.exp(log_prior.max())):
        return Measured(0.0, 0.0)
    scale = scale_of(views.log_probabilities[place] - log_prior, log_prior, views.labels)
    # A half of an example more of each kind: nobody is without fault for having made none.
    counted = (int(right.sum()) + 0.5) / (len(right) + 1)
    found = strength(counted, views.classes)
    return Measured(scale, found) if scale > 0 and found > 0 else Measured(0.0, 0.0)


def scale_of(said: Numbers, log_prior: Numbers, labels: NDArray[np.int64]) -> float:
    """One over the temperature (Guo et al. 2017): the least of Σ -log P(right) + ½ (scale - 1)², P ∝ prior · exp(scale · said).

    The second term is a prior of one example's weight, which holds the scale where all answers are right. The sum is convex: its
    derivative is halved towards 0.

    Args:
        said: [examples, classes], log-probabilities without the prior.
    """
    rows = np.arange(len(labels))
    low, high = 0.0, _MOST_SCALE
    for _ in range(40):
        middle = (low + high) / 2
        logits = middle * said + log_prior
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        slope = float(((shares * said).sum(axis=1) - said[rows, labels]).sum()) + middle - 1
        if slope > 0:
            high = middle
        else:
            low = middle
    return low


def _log_prior(views: Views) -> tuple[int, ...]:
    """Of each class, with one example more of each."""
    counts = np.bincount(views.labels, minlength=views.classes) + 1
    logs = np.log(counts / counts.sum())
    return tuple(max(-MOST_PRIOR_MILLINATS, round(float(value) * THOUSAND)) for value in logs)


def _clipped(group: FusionGroup, clip_nats: float, views: Views) -> FusionGroup:
    """The group with this cut, and with the correlations of what is left of the evidence."""
    group = replace(group, clip_millinats=round(clip_nats * THOUSAND))
    heard = [place for place, member in enumerate(group.members) if member.strength_millionths]
    if len(heard) < 2:
        return group
    found = np.zeros((len(group.members),) * 2)
    found[np.ix_(heard, heard)] = correlations(errors_of(evidence_of(group, views)[heard], views.labels))
    rows = tuple(tuple(round(float(found[i, j]) * MILLION) for j in range(i)) for i in range(len(group.members)))
    return replace(group, correlations_millionths=rows)


def _losses(group: FusionGroup, views: Views) -> Numbers:
    """By example; see CLIPS_NATS."""
    fusion, evidence = Fusion(group), evidence_of(group, views)
    honest = fused(fusion, evidence).log_losses(views.labels)
    if len(group.members) < 3:
        return honest
    everybody = np.ones(evidence.shape[:2], np.bool_)
    lied = [worst_lies(fusion, evidence, views.labels, liar, everybody) for liar in range(len(group.members))]
    dearest = max((fused(fusion, it).log_losses(views.labels) for it in lied), key=lambda it: float(it.mean()))
    return np.asarray((honest + dearest) / 2)
