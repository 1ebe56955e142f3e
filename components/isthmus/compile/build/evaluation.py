"""The held-out examples that a release is measured on."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.metrics import DEFAULT_METRIC, METRICS, confusion_matrix
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec

SINGLE_INPUT_NAME = "x"
LABELS_NAME = "y"
METRIC_NAME = "metric"
SCORE_DECIMALS = 4
RANDOM_EXAMPLES = 64
RANDOM_SEED = 7
FREE_DIMENSION = 8
"""Size of a dimension that the model leaves open, in made-up examples."""

# What numpy and zipfile raise on damaged, cut, encrypted and oddly packed files, and on arrays that would have to be unpickled.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

Arrays = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """Something that answers: inputs by name, with a batch dimension → outputs by name."""

    def __call__(self, inputs: Arrays, /) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True)
class Evaluation:
    """inputs: by name, [N, …]. labels: [N] or, for numbers, [N, …]; None where there is no evaluation data, and the inputs are
    made up. output: the name of the output that the labels are of. metric: a name of METRICS."""

    inputs: dict[str, NDArray[Any]]
    labels: NDArray[Any] | None
    output: str = ""
    metric: str = DEFAULT_METRIC

    @property
    def examples(self) -> int:
        """How many held-out examples there are; 0 without evaluation data."""
        return 0 if self.labels is None else len(self.labels)

    def singles(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The inputs in order, each example a batch of one: as devices ask."""
        for index in range(len(next(iter(self.inputs.values())))):
            yield {name: values[index : index + 1] for name, values in self.inputs.items()}

    def answers(self, runner: Runner, where: str) -> dict[str, NDArray[Any]]:
        """Outputs by name, [examples, …], each example asked alone. Raises SourceError where they cannot be put together."""
        found = [runner(inputs) for inputs in self.singles()]
        try:
            return {name: np.concatenate([np.asarray(answer[name]) for answer in found]) for name in found[0]}
        except ValueError as error:
            problem = Problem(
                where, f"the answers to single examples do not go together: {error}", "outputs whose first dimension is the batch"
            )
            raise SourceError([problem]) from error

    def score(self, answers: Arrays) -> float | None:
        """The metric, None without evaluation data. A share of examples is exact; others are rounded far above the last bits, in which
        processors differ."""
        if self.labels is None:
            return None
        metric = METRICS[self.metric]
        score = metric.score(answers[self.output], self.labels)
        return score if metric.of_classes else round(score, SCORE_DECIMALS)

    def confusion(self, answers: Arrays) -> tuple[tuple[int, ...], ...]:
        """Examples by [right class][answered class]; empty where there are no classes, or too many."""
        if self.labels is None or not METRICS[self.metric].of_classes:
            return ()
        return confusion_matrix(answers[self.output], self.labels)


def load_evaluation(file: Path | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str) -> Evaluation:
    """The examples of the file, checked against the model's inputs and outputs; without a file, seeded random inputs.

    Raises:
        SourceError: with all that does not fit.
    """
    if file is None:
        generator = np.random.default_rng(RANDOM_SEED)
        return Evaluation({spec.name: _random(spec, generator) for spec in inputs}, None)
    arrays = _read(file, where)
    labels, metric = arrays[LABELS_NAME], str(arrays.get(METRIC_NAME, DEFAULT_METRIC))
    found, problems = _inputs(arrays, inputs, file.name, where)
    if problem := _count_problem(found, len(labels) if labels.ndim else 0, file.name, where):
        problems.append(problem)
    if metric not in METRICS:
        listed = "; ".join(f"{name}: {known.description}" for name, known in METRICS.items())
        problems.append(Problem(where, f"{file.name} names a metric {metric!r} that is not known", f"one of: {listed}"))
    else:
        problems += _label_problems(labels, metric, outputs[0], file.name, where)
    if problems:
        raise SourceError(problems)
    return Evaluation(found, labels.astype(np.int64) if METRICS[metric].of_classes else labels, outputs[0].name, metric)


def load_inputs(file: Path, inputs: Sequence[TensorSpec], where: str) -> dict[str, NDArray[Any]]:
    """Inputs without labels, by name, [N, …]: calibration data. Raises SourceError with all that does not fit."""
    found, problems = _inputs(_read(file, where), inputs, file.name, where)
    if problem := _count_problem(found, max((len(values) for values in found.values()), default=0), file.name, where):
        problems.append(problem)
    if problems:
        raise SourceError(problems)
    return found


def _read(file: Path, where: str) -> Arrays:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except _UNREADABLE as error:
        raise SourceError([Problem(where, f"{file.name} cannot be read: {error}", "an .npz file of plain arrays")]) from error


def _inputs(arrays: Arrays, specs: Sequence[TensorSpec], file: str, where: str) -> tuple[dict[str, NDArray[Any]], list[Problem]]:
    problems, inputs = [], {}
    for spec in specs:
        name = spec.name if spec.name in arrays else SINGLE_INPUT_NAME
        if name not in arrays or (name != spec.name and len(specs) > 1):
            found = ", ".join(sorted(arrays))
            problems.append(Problem(where, f"{file} has no array for input {spec.name!r} (it has: {found})", spec.name))
            continue
        values = _fitted(arrays[name], spec)
        if _fits(values, spec):
            inputs[spec.name] = values
        else:
            what = f"{name} in {file} is {_shown(arrays[name])} and does not fit input {spec.name!r}"
            problems.append(Problem(where, what, f"{spec.dtype} {list(spec.shape or ())}"))
    return inputs, problems


def _count_problem(inputs: Arrays, examples: int, file: str, where: str) -> Problem | None:
    counts = {name: len(values) for name, values in inputs.items()}
    if examples > 0 and all(count == examples for count in counts.values()):
        return None
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return Problem(where, f"{file} has {listed} for {examples} examples", "as many of each, at least one")


def _label_problems(labels: NDArray[Any], name: str, output: TensorSpec, file: str, where: str) -> list[Problem]:
    shape, metric = output.shape or (), METRICS[name]
    if not metric.of_classes:
        fits = labels.dtype.kind in "iuf" and bool(np.isfinite(labels).all()) and labels[:1].size == abs(int(np.prod(shape[1:])))
        wanted = f"finite numbers, as many an example as output {output.name!r} {list(shape)} has"
        return [] if fits else [Problem(where, f"y in {file} is {_shown(labels)}", f"{wanted}, for metric {name}")]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return [Problem(where, f"y in {file} is {_shown(labels)}", "whole numbers [N], the right class of each example")]
    if len(shape) != 2 or 0 < shape[1] < metric.min_classes:
        return [
            Problem(where, f"output {output.name!r} has shape {output.shape}: {name} needs classes", f"[N, {metric.min_classes} or more]")
        ]
    classes = max(shape[1], 2) if shape[1] > 0 else np.inf
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        return [
            Problem(where, f"y in {file} has classes {labels.min()} to {labels.max()}", f"0 to {classes - 1} as output {output.name!r} has")
        ]
    return []


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
        return same_type and array.ndim > 0
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
