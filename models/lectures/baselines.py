"""What the lectures model has to beat: recommendations that need no training. Pure numpy.

Each takes the data and scores all lecturers for the held-out part, float64 [N, 1128], from the training part alone. Those
heard already get the lowest score, as in the model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def most_popular(examples: Any, lecturers: int) -> Scores:
    """The same for all: those who were heard most."""
    counts = np.bincount(examples.train_labels, minlength=lecturers)
    return _unheard(np.tile(counts, (len(examples.held_out_labels), 1)), examples)


def most_popular_in_the_semester(examples: Any, lecturers: int) -> Scores:
    """Those who were heard most in the semester asked for."""
    counts = np.zeros((1 + examples.train_inputs["semester"].max(), lecturers))
    np.add.at(counts, (examples.train_inputs["semester"], examples.train_labels), 1)
    return _unheard(counts[examples.held_out_inputs["semester"]], examples)


def heard_together(examples: Any, lecturers: int) -> Scores:
    """Those whom other students heard with the ones in the history: the cosine of lecturers, summed over the history."""
    before, label = _heard(examples.train_inputs["history"], lecturers), examples.train_labels
    together = np.zeros((lecturers, lecturers))
    np.add.at(together, label, before)
    length = np.sqrt(np.maximum(together.sum(axis=1), 1))
    return _unheard(_heard(examples.held_out_inputs["history"], lecturers) @ (together / np.outer(length, length)).T, examples)


def _heard(history: NDArray[np.int32], lecturers: int) -> NDArray[np.float32]:
    """Histories [N, 24] with zeros at the end → 1 for who was heard, [N, lecturers]."""
    heard = np.zeros((len(history), lecturers + 1), np.float32)
    np.put_along_axis(heard, history, 1, axis=1)
    return heard[:, 1:]


def _unheard(scores: NDArray[Any], examples: Any) -> Scores:
    heard = _heard(examples.held_out_inputs["history"], scores.shape[1])
    return np.where(heard > 0, -1.0, scores)


BASELINES: dict[str, Callable[[Any, int], Scores]] = {
    "most popular": most_popular,
    "most popular in the semester": most_popular_in_the_semester,
    "heard together": heard_together,
}
