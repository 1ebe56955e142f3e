"""What a release's two variants answer on the evaluation data, as it is kept with the release."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus.offload import reliability, scores, temperature
from isthmus.offload.scores import Scores
from isthmus.release.confidences import LEAST_EXAMPLES, MOST_GROUPS, Calibration, Confidences, Group
from isthmus_agent.formats.scores import PROBABILITIES

DECIMALS: Final = 6
"""Of a confidence. Examples that differ by less are one to a threshold."""
_SEED: Final = 7


def calibration_of(answers: NDArray[Any], labels: NDArray[np.int64]) -> Calibration | None:
    """What the edge variant's answers [N, classes] say about how sure they are; None where they are no scores of classes, or too few."""
    kind = scores.kind_of(answers)
    if kind is None or len(answers) < LEAST_EXAMPLES:
        return None
    floor = scores.floor_of(answers) if kind == PROBABILITIES else 0.0
    return Calibration(kind, temperature.fit(scores.logits_of(answers, kind, floor), labels), floor)


def measure(
    calibration: Calibration,
    edge: NDArray[Any],
    serving: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    largest_difference: float,
    request_bytes: int,
    answer_bytes: int,
) -> Confidences:
    """Both variants' answers [N, classes] to the same examples beside each other. largest_difference: over all outputs."""
    edge_class, serving_class = edge.argmax(axis=1), serving.argmax(axis=1)
    right = edge_class == labels
    return Confidences(
        agreeing=int((edge_class == serving_class).sum()),
        largest_difference=float(f"{largest_difference:.3g}"),
        raw_error=reliability.estimate(scores.raw(edge, calibration.scores), right),
        calibrated_error=reliability.estimate(_by_the_other_half(edge, labels, calibration), right),
        groups=_groups(scores.calibrated(edge, calibration), right, serving_class == labels),
        request_bytes=request_bytes,
        answer_bytes=answer_bytes,
    )


def _by_the_other_half(edge: NDArray[Any], labels: NDArray[np.int64], calibration: Calibration) -> Scores:
    """How sure each answer is, by a temperature that was fitted without it, [N]: what was fitted to an example flatters it."""
    logits = scores.logits_of(edge, calibration.scores, calibration.floor)
    is_first = np.random.default_rng(_SEED).permutation(len(labels)) < len(labels) // 2
    found = np.empty(len(labels))
    for half in (is_first, ~is_first):
        found[half] = scores.confidences(logits[half], temperature.fit(logits[~half], labels[~half]))
    return found


def _groups(sure: Scores, edge_right: NDArray[np.bool_], serving_right: NDArray[np.bool_]) -> tuple[Group, ...]:
    """The examples in the order of their confidence; those of one confidence stay together."""
    values, which = np.unique(np.round(sure, DECIMALS), return_inverse=True)
    counts = np.zeros((len(values), 4), np.int64)
    np.add.at(counts, (which, 3 - (2 * edge_right + serving_right)), 1)  # both, edge, serving, neither
    # Groups of as many examples as can be: the last of each is where its share of all examples is full.
    part = np.minimum((counts.sum(axis=1).cumsum() - 1) * MOST_GROUPS // len(sure), MOST_GROUPS - 1)
    starts = np.flatnonzero(np.diff(part, prepend=-1)) if len(values) > MOST_GROUPS else np.arange(len(values))
    ends = np.append(starts[1:], len(values))
    return tuple(
        Group(float(values[start]), float(values[end - 1]), *(int(it) for it in counts[start:end].sum(axis=0)))
        for start, end in zip(starts, ends, strict=True)
    )
