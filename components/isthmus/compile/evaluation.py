"""The held-out examples that a release is measured on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.load import Arrays, SourceModel
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec

SINGLE_INPUT_NAME = "x"
LABELS_NAME = "y"
RANDOM_EXAMPLES = 64
RANDOM_SEED = 7
FREE_DIMENSION = 8
"""Size of a dimension that the model leaves open, in made-up examples."""


@dataclass(frozen=True)
class Evaluation:
    """inputs: by name, [N, …]. labels: int [N]; None where there is no evaluation data, and the inputs are made up."""

    inputs: dict[str, NDArray[Any]]
    labels: NDArray[np.int64] | None

    @property
    def examples(self) -> int:
        """How many held-out examples there are; 0 without evaluation data."""
        return 0 if self.labels is None else len(self.labels)

    def batches(self, batch_examples: int) -> Iterator[dict[str, NDArray[Any]]]:
        """The inputs in order, batch_examples at a time."""
        count = len(next(iter(self.inputs.values())))
        for start in range(0, count, batch_examples):
            yield self.first(batch_examples, start)

    def first(self, count: int, start: int = 0) -> dict[str, NDArray[Any]]:
        """Inputs start … start + count."""
        return {name: values[start : start + count] for name, values in self.inputs.items()}


def load_evaluation(file: Path | None, model: SourceModel, where: str) -> Evaluation:
    """The examples of the file, checked against the model; without a file, seeded random inputs.

    Raises:
        SourceError: with all that does not fit.
    """
    if file is None:
        generator = np.random.default_rng(RANDOM_SEED)
        return Evaluation({spec.name: _random(spec, generator) for spec in model.inputs}, None)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays: Mapping[str, NDArray[Any]] = dict(archive)
    except (OSError, ValueError) as error:
        raise SourceError([Problem(where, f"{file.name} cannot be read: {error}", "an .npz file of plain arrays")]) from error
    labels = arrays[LABELS_NAME]
    problems = []
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) == 0:
        problems.append(Problem(where, f"y in {file.name} is {_shown(labels)}", "whole numbers [N], the right class of each example"))
    inputs = {}
    for spec in model.inputs:
        name = spec.name if spec.name in arrays else SINGLE_INPUT_NAME
        if name not in arrays or (name != spec.name and len(model.inputs) > 1):
            found = ", ".join(sorted(arrays))
            problems.append(Problem(where, f"{file.name} has no array for input {spec.name!r} (it has: {found})", spec.name))
            continue
        inputs[spec.name] = _fitted(arrays[name], spec)
        if not _fits(inputs[spec.name], spec) or len(arrays[name]) != len(labels):
            problems.append(
                Problem(
                    where,
                    f"{name} in {file.name} is {_shown(arrays[name])} and does not fit input {spec.name!r}",
                    f"{spec.dtype} {list(spec.shape or ())}, with as many examples as y ({len(labels)})",
                )
            )
    output = model.outputs[0]
    if not output.shape or len(output.shape) != 2:
        problems.append(Problem(where, f"output {output.name!r} has shape {output.shape}: accuracy needs classes", "[N, classes]"))
    if problems:
        raise SourceError(problems)
    return Evaluation(inputs, labels.astype(np.int64))


def _shown(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _fitted(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """float64 becomes float32, say; but never floats whole numbers."""
    if spec.dtype == "string":
        return array.astype(object) if array.dtype.kind in "US" else array
    target = np.dtype(spec.dtype)
    return array.astype(target) if np.can_cast(array.dtype, target, "same_kind") else array


def _fits(array: NDArray[Any], spec: TensorSpec) -> bool:
    same_type = array.dtype.kind in "OUS" if spec.dtype == "string" else array.dtype == np.dtype(spec.dtype)
    if spec.shape is None:
        return same_type
    return same_type and array.ndim == len(spec.shape) and all(w in (-1, h) for w, h in zip(spec.shape[1:], array.shape[1:], strict=True))


def _random(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    """Numbers that most models accept: floats in [0, 1), whole numbers 0 and 1 (valid for any table of two rows)."""
    shape = (RANDOM_EXAMPLES, *(FREE_DIMENSION if size == -1 else size for size in (spec.shape or (-1,))[1:]))
    if spec.dtype == "string":
        return np.full(shape, "text", dtype=object)
    kind = np.dtype(spec.dtype).kind
    if kind in "iub":
        return generator.integers(0, 2, shape).astype(spec.dtype)
    return generator.random(shape, dtype=np.float32).astype(spec.dtype)


def right_answers(outputs: Arrays, name: str, labels: NDArray[np.int64]) -> int:
    """How many of a batch are right: the largest of several classes, or one probability rounded."""
    scores = outputs[name]
    answers = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(np.int64)
    return int((answers == labels).sum())
