"""What a group is worth on examples that it was not learned from: against its best member, with one that lies, with one missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.fusion.batch import Truths, evidence_of, fused
from isthmus.fusion.learn import learn
from isthmus.fusion.lies import Labels, Lies, blind_lies, worst_lies
from isthmus.fusion.measures import Estimate, difference, share
from isthmus.fusion.views import Numbers, Views
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats.evidence import encode
from isthmus_agent.formats.fusion_group import FusionGroup

FOLDS: Final = 5
Right = NDArray[np.float64]
Case = Callable[[Fusion, Numbers, Labels], Iterator[Labels]]


@dataclass(frozen=True)
class MemberFigures:
    """alone: its own share of right answers. without: the group's while it is missing; None in a group of one."""

    name: str
    alone: Estimate
    without: Estimate | None


@dataclass(frozen=True)
class Figures:
    """Shares of right answers, by cross-validation over `examples` in `folds` parts; differences are of the same examples.

    gain: the group's share less that of its best member. lost_…: the group's share less what it is with one member missing, with one that
    lies blindly or in the worst way (`lies`), with one of each; the mean over who that is. None where too few would be left.
    answer_bytes: mean of one member's answer on the wire.
    """

    examples: int
    folds: int
    members: tuple[MemberFigures, ...]
    best: str
    group: Estimate
    gain: Estimate
    lost_missing: Estimate | None
    lost_lying: Estimate | None
    lost_lying_and_missing: Estimate | None
    lost_worst: Estimate | None
    lost_worst_and_missing: Estimate | None
    answer_bytes: float


@dataclass(frozen=True)
class Part:
    """One fold. examples: [all examples], which are in it. fusion: learned from the other folds. evidence: of the examples in it."""

    examples: NDArray[np.bool_]
    fusion: Fusion
    evidence: Numbers
    labels: Labels


def parts_of(views: Views, clip_nats: float | None = None) -> tuple[Part, ...]:
    """The folds, each with the group that the others make. clip_nats: as for `learn`."""
    fold, found = folds(views.labels), []
    for number in range(FOLDS):
        group = learn(views.of(fold != number), _NO_RELEASE, clip_nats)
        here = views.of(fold == number)
        found.append(Part(fold == number, Fusion(group), evidence_of(group, here), here.labels))
    return tuple(found)


def validate(views: Views, clip_nats: float | None = None, parts: Sequence[Part] | None = None) -> Figures:
    """The figures. parts: as `parts_of` makes them of these two; None: made here."""
    count = len(views.members)
    parts = parts or parts_of(views, clip_nats)
    kinds = [partial(_lying, lies, missing_too) for lies in (blind_lies, worst_lies) for missing_too in (False, True)]
    group, without, *lied = held_out(parts, [honest, _missing, *kinds])
    best = int(views.right.mean(axis=1).argmax())
    members = tuple(
        MemberFigures(name, share(views.right[place]), share(without[place] == 1) if count > 1 else None)
        for place, name in enumerate(views.members)
    )
    lying, lying_missing, worst, worst_missing = [difference(group[0] - it.mean(axis=0)) if count > 2 else None for it in lied]
    return Figures(
        examples=len(views.labels),
        folds=FOLDS,
        members=members,
        best=views.members[best],
        group=share(group[0] == 1),
        gain=difference(group[0] - views.right[best]),
        lost_missing=difference(group[0] - without.mean(axis=0)) if count > 1 else None,
        lost_lying=lying,
        lost_lying_and_missing=lying_missing,
        lost_worst=worst,
        lost_worst_and_missing=worst_missing,
        answer_bytes=answer_bytes(learn(views, _NO_RELEASE, clip_nats), views),
    )


_NO_RELEASE: Final = ""  # of a group that is only measured


def answer_bytes(group: FusionGroup, views: Views) -> float:
    """The mean length of what members with a say send for these examples; 0 where nobody has one."""
    heard = [place for place, member in enumerate(group.members) if member.strength_millionths]
    said = evidence_of(group, views)[heard].reshape(-1, group.classes)
    return float(np.mean([len(encode(evidence, group.clip)) for evidence in said.tolist()])) if heard else 0.0


def folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each example: in turns within each class, so that all have the classes in nearly equal shares. No chance in it."""
    found = np.empty(len(labels), np.int64)
    found[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS
    return found


def held_out(parts: Sequence[Part], cases: Sequence[Case]) -> list[Right]:
    """For each case how right each example is, [variants of the case, examples], by a group that was learned from the other folds."""
    found = [np.concatenate([_right(part, case) for part in parts], axis=1) for case in cases]
    back = np.argsort(np.concatenate([np.flatnonzero(part.examples) for part in parts]))
    return [right[:, back] for right in found]


def _right(part: Part, case: Case) -> Right:
    return np.array([answers == part.labels for answers in case(part.fusion, part.evidence, part.labels)], np.float64)


def honest(fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
    yield fused(fusion, evidence).answers


def _missing(fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
    for missing in range(len(evidence)):
        yield fused(fusion, evidence, all_but(evidence, missing)).answers


def _lying(lies: Lies, missing_too: bool, fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
    """Each lies once; missing_too: while the next one is missing."""
    for liar in range(len(evidence)):
        answered = all_but(evidence, (liar + 1) % len(evidence) if missing_too else None)
        yield fused(fusion, lies(fusion, evidence, labels, liar, answered), answered).answers


def all_but(evidence: Numbers, missing: int | None) -> Truths:
    answered = np.ones(evidence.shape[:2], np.bool_)
    if missing is not None:
        answered[missing] = False
    return answered
