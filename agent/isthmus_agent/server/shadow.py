"""How far a content's predictions are from those of the version before, on the same inputs: the golden vectors of the new one.

The two are never held at once, so that a device that cannot hold both can be asked for it: the one before answers first, and is gone before
the new one is loaded. What it answers is compared output by output, and the largest distance counts:

- one table of probabilities on both sides (see `confidence`): the total variation distance of their mean rows, which is half of the sum of
  the differences: the share of predictions that went elsewhere;
- texts and truth values: the same of how often each was answered;
- other numbers: D / (D + S). D is the mean difference between both sides' values in order (the first Wasserstein distance), S the mean
  difference of the values before from their own mean. It is 0 where nothing moved and 1/2 where they moved by as much as they used to vary;
- outputs of other names or shapes, or an input that the version before does not take: 1.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus_agent.channel import Limits
from isthmus_agent.formats import bundle
from isthmus_agent.formats.numbers import MILLION, FormatError
from isthmus_agent.protocol import RestError
from isthmus_agent.server import selftest
from isthmus_agent.server.confidence import confidence
from isthmus_agent.server.manifest import Manifest
from isthmus_agent.server.model import InterpreterError, Model

MOST_EXAMPLES: Final = 256
Arrays = Mapping[str, npt.NDArray[Any]]


def predictions(model: Model, inputs: Arrays) -> Arrays:
    """What a model answers to the first of the examples: {} where it does not take them. Raises InterpreterError."""
    if inputs.keys() != model.signature.inputs.keys():
        return {}
    examples = min(MOST_EXAMPLES, *(len(it) for it in inputs.values()))
    parts = [slice(0, examples)] if model.takes_any_batch else [slice(index, index + 1) for index in range(examples)]
    try:
        found = [model.predict({name: it[part] for name, it in inputs.items()}) for part in parts]
    except RestError:
        return {}
    try:
        return {name: np.concatenate([np.atleast_1d(it[name]) for it in found]) for name in model.signature.outputs}
    except ValueError as error:
        raise InterpreterError("its answers have a shape each") from error


def predictions_before(content: Path, inputs: Arrays, limits: Limits) -> Arrays | None:
    """What the content in a file answers; None where it does not answer at all."""
    try:
        with content.open("rb") as file:
            manifest = Manifest.from_bytes(bundle.read(file, bundle.MANIFEST))
            model = Model(bundle.read(file, bundle.MODEL), manifest, threads=limits.threads, most_batch=limits.most_batch)
        return predictions(model, inputs)
    except (OSError, FormatError, InterpreterError, MemoryError):
        return None


def inputs_of(content: Path) -> Arrays | None:
    """The inputs of a content's golden vectors; None where it has none: its self-test says so."""
    try:
        with content.open("rb") as file:
            manifest = Manifest.from_bytes(bundle.read(file, bundle.MANIFEST))
            golden = bundle.read(file, bundle.GOLDEN)
        return selftest.vectors(golden, manifest.tensors)[0]
    except (OSError, FormatError, MemoryError):
        return None


def distance_millionths(before: Arrays, after: Arrays) -> int:
    """The distance, in millionths."""
    if not before or before.keys() != after.keys():
        return MILLION
    return round(MILLION * max(_distance(it, after[name]) for name, it in before.items()))


def _distance(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    if before.shape[1:] != after.shape[1:] or len(before) != len(after) or (before.dtype.kind in "fiu") != (after.dtype.kind in "fiu"):
        return 1.0
    if before.dtype.kind not in "fiu":
        return _of_counts(before.ravel().tolist(), after.ravel().tolist())
    if confidence({"": before}) is not None and confidence({"": after}) is not None:
        return min(1.0, float(np.abs(before.mean(axis=0, dtype=np.float64) - after.mean(axis=0, dtype=np.float64)).sum()) / 2)
    return _of_numbers(before.astype(np.float64).ravel(), after.astype(np.float64).ravel())


def _of_counts(before: list[Any], after: list[Any]) -> float:
    left, right = Counter(before), Counter(after)
    return sum(abs(left[it] - right[it]) for it in left.keys() | right.keys()) / (2 * max(1, len(before)))


def _of_numbers(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0 if np.array_equal(np.sort(before), np.sort(after), equal_nan=True) else 1.0
    moved = float(np.abs(np.sort(before) - np.sort(after)).mean())
    spread = float(np.abs(before - before.mean()).mean())
    return moved / (moved + spread) if moved else 0.0
