"""How good answers are: the metrics that evaluation data may name. Pure.

Each is 1 for perfect answers and smaller for worse ones, so that one gate, `min_accuracy`, serves them all. The names are for
everyone; only scoring imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

DEFAULT_METRIC = "accuracy"
MAX_CONFUSION_CLASSES = 50
_TOP = 5
_EVEN = 0.5


@dataclass(frozen=True)
class Metric:
    """score: (outputs [N, …], labels [N, …]) → at most 1. of_classes: labels are whole numbers [N], each a class of outputs
    [N, classes], or 0 and 1 where the output is one probability [N, 1]; otherwise labels are numbers, as many as the outputs.
    min_classes: fewer would make the metric say nothing."""

    description: str
    score: Callable[[Numbers, Numbers], float]
    of_classes: bool
    min_classes: int = 1


def _answered(outputs: Numbers) -> Numbers:
    """Outputs [N, classes] → the class with the largest, [N]; one probability is rounded."""
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > _EVEN).astype(int)


def _accuracy(outputs: Numbers, labels: Numbers) -> float:
    return int((_answered(outputs) == labels).sum()) / len(labels)


def _top_5(outputs: Numbers, labels: Numbers) -> float:
    import numpy as np

    best = np.argsort(-outputs, axis=1, kind="stable")[:, :_TOP]
    return int((best == labels[:, None]).any(axis=1).sum()) / len(labels)


def _explained(power: int, centre: str) -> Callable[[Numbers, Numbers], float]:
    """1 − Σ|error|^power / that of always answering the labels' centre, the name of a numpy function."""

    def score(outputs: Numbers, labels: Numbers) -> float:
        import numpy as np

        wanted = labels.reshape(len(labels), -1).astype(np.float64)
        found = outputs.reshape(len(labels), -1).astype(np.float64)
        error = float((np.abs(found - wanted) ** power).sum())
        constant = float((np.abs(wanted - getattr(np, centre)(wanted, axis=0)) ** power).sum())
        if constant == 0:
            return 1.0 if error == 0 else 0.0
        return 1 - error / constant

    return score


METRICS: dict[str, Metric] = {
    "accuracy": Metric("share of examples that are answered right", _accuracy, of_classes=True),
    "top_5": Metric("share of examples whose class is among the five with the largest outputs", _top_5, of_classes=True, min_classes=6),
    "d2_absolute_error": Metric("1 − mean absolute error / that of always answering the median", _explained(1, "median"), of_classes=False),
    "r2": Metric("1 − mean squared error / that of always answering the mean", _explained(2, "mean"), of_classes=False),
}


def confusion_matrix(outputs: Numbers, labels: Numbers) -> tuple[tuple[int, ...], ...]:
    """Examples by [right class][answered class]; empty where there are more than MAX_CONFUSION_CLASSES classes."""
    import numpy as np

    classes = max(outputs.shape[1], 2)
    if classes > MAX_CONFUSION_CLASSES:
        return ()
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, _answered(outputs)), 1)
    return tuple(tuple(row) for row in counts.tolist())
