"""Two ways to make one answer of several members, compared on the same held-out examples: what they say (weighted log-odds), or what they
see (their embeddings, under a head)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.fusion.batch import Truths, fused
from isthmus.fusion.embedded import Embedded
from isthmus.fusion.head import learn_head
from isthmus.fusion.lies import Labels
from isthmus.fusion.measures import Estimate, difference, share
from isthmus.fusion.validate import Part, Right
from isthmus.fusion.views import Numbers

LOG_ODDS, FEATURES, AUTO = "log-odds", "features", "auto"
WAYS: Final = (LOG_ODDS, FEATURES, AUTO)
LEAST_TIMES_FEWER: Final = 20
"""So many times fewer bytes than the inputs, a byte a number, is what sending something else is for (DDNN, arXiv 1709.01921)."""
MOST_LOST: Final = 0.01
"""Of the share of right answers, with one member missing and one that sees something else."""
_Answers = Callable[[Numbers, Truths], Labels]


@dataclass(frozen=True)
class WayFigures:
    """One way. right: its share of right answers. lost_missing: of it, with one member missing. lost_swapped_and_missing: with one that
    sees another example of another class, and the next one missing; None in a group of two. Means over who it is. answer_bytes: of one
    member's word, in the mean."""

    name: str
    right: Estimate
    lost_missing: Estimate
    lost_swapped_and_missing: Estimate | None
    answer_bytes: float


@dataclass(frozen=True)
class Comparison:
    """above: the share of right answers of features less that of log-odds. input_bytes: of one input, a byte a number. chosen: LOG_ODDS or
    FEATURES, and the reason in words."""

    log_odds: WayFigures
    features: WayFigures
    above: Estimate
    input_bytes: int
    chosen: str
    reason: str


def compare(parts: Sequence[Part], embedded: Embedded, evidence_bytes: float, input_bytes: int, asked: str = AUTO) -> Comparison:
    """Both ways, of a group of two or more, each learned from the other folds. asked: one of WAYS.

    Args:
        parts: the folds, of the same examples and members as `embedded`.
        evidence_bytes: mean of one member's answer. input_bytes: of one input, a byte a number.
    """
    log_odds, log_odds_right = _figures(LOG_ODDS, [_by_evidence(part) for part in parts], evidence_bytes)
    features, features_right = _figures(FEATURES, [_by_head(embedded, part) for part in parts], float(embedded.values.shape[2]))
    above = difference(features_right - log_odds_right)
    chosen, reason = (asked, "asked for") if asked != AUTO else _choice(features, above, input_bytes)
    return Comparison(log_odds, features, above, input_bytes, chosen, reason)


def _choice(features: WayFigures, above: Estimate, input_bytes: int) -> tuple[str, str]:
    lost = features.lost_swapped_and_missing
    if above.low <= 0:
        return LOG_ODDS, "features are not shown to be right more often"
    if features.answer_bytes * LEAST_TIMES_FEWER > input_bytes:
        what = f"an embedding has {features.answer_bytes:.0f} bytes and the input itself {input_bytes} (a byte a number)"
        return LOG_ODDS, f"features are right more often, but {what}: not {LEAST_TIMES_FEWER} times fewer"
    if lost is None or lost.value > MOST_LOST:
        return LOG_ODDS, f"features lose more than {100 * MOST_LOST:g} point with one member missing and one that sees something else"
    return FEATURES, f"features are right more often, in {LEAST_TIMES_FEWER} times fewer bytes than the input, and do with members missing"


def _by_evidence(part: Part) -> list[Right]:
    return _tried(part.evidence, part.labels, lambda values, heard: fused(part.fusion, values, heard).answers)


def _by_head(embedded: Embedded, part: Part) -> list[Right]:
    head, here = learn_head(embedded.of(~part.examples)), embedded.of(part.examples)
    return _tried(here.values, here.labels, lambda values, heard: head.logits(values, heard).argmax(axis=1))


def _tried(values: Numbers, labels: Labels, answers: _Answers) -> list[Right]:
    """How right each example is, [variants, examples], by case. values: [members, examples, …]."""
    cases = (_whole(values), _missing(values), _swapped(values, labels))
    return [np.array([answers(*it) == labels for it in case], np.float64).reshape(-1, len(labels)) for case in cases]


def _figures(name: str, tried: Sequence[list[Right]], answer_bytes: float) -> tuple[WayFigures, Right]:
    whole, missing, swapped = (np.concatenate([it[case] for it in tried], axis=1) for case in range(3))
    lost = difference(whole[0] - swapped.mean(axis=0)) if len(swapped) > 2 else None
    return WayFigures(name, share(whole[0] == 1), difference(whole[0] - missing.mean(axis=0)), lost, answer_bytes), whole[0]


def _whole(values: Numbers) -> Iterator[tuple[Numbers, Truths]]:
    yield values, np.ones(values.shape[:2], np.bool_)


def _missing(values: Numbers) -> Iterator[tuple[Numbers, Truths]]:
    for place in range(len(values)):
        heard = np.ones(values.shape[:2], np.bool_)
        heard[place] = False
        yield values, heard


def _swapped(values: Numbers, labels: Labels) -> Iterator[tuple[Numbers, Truths]]:
    """Each sees, of every example, the next one of another class; the next member is missing."""
    count = len(labels)
    after = (np.arange(count)[:, None] + np.arange(1, count)) % count
    others = after[np.arange(count), (labels[after] != labels[:, None]).argmax(axis=1)]
    for place, (_, heard) in enumerate(_missing(values)):
        lied = values.copy()
        lied[place] = values[place][others]
        yield lied, np.roll(heard, 1, axis=0)
