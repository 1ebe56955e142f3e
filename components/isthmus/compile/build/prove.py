"""Proof of a candidate: what its file is, and what it answers in the interpreter that devices have. Runs in a worker."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.build.contents import Contents, read_contents
from isthmus.compile.build.evaluation import Arrays, Evaluation
from isthmus.compile.build.footprint import peak_memory_bytes
from isthmus.compile.build.golden import GOLDEN_EXAMPLES, examples_of, golden_rows, largest_difference, mean_difference
from isthmus.compile.build.running import EdgeRunner
from isthmus.compile.build.sureness import sureness
from isthmus.compile.build.workplace import Proof
from isthmus.errors import Problem, SourceError
from isthmus.release import deflate
from isthmus.release.manifest import Candidate, TensorSpec

# Types that a storage step's weights have in the file, by the step. int4 leaves in 8 bits what has no 4-bit kernel.
_STORED_AS = {
    "float16": ("FLOAT16",),
    "int8": ("INT8",),
    "int8-static": ("INT8",),
    "int8-weights": ("INT8",),
    "int4": ("INT4", "INT8"),
    "int4-weights": ("INT4", "INT8"),
}


def prove(
    file: Path,
    storage: str,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    evaluation: Evaluation,
    answers: Arrays,
    served: Arrays | None = None,
    where: str,
    way_out: str = "",
    progress: Callable[[str], None],
) -> Proof:
    """The figures of a candidate's file, without recipe, layers and times.

    Args:
        storage: the recipe's storage step.
        inputs: and outputs: the source's, which the file must have.
        answers: the source's to all of the evaluation, each example asked alone.
        served: the serving variant's, where there is one.
        way_out: what to advise where the interpreter refuses the model.

    Raises:
        SourceError: the interpreter cannot run it, it came back unquantised, or it answers what is no number where the
            source's answer is one.
    """
    data = file.read_bytes()
    first = {name: values[:GOLDEN_EXAMPLES] for name, values in evaluation.inputs.items()}
    progress("load it in a process of its own")
    memory = peak_memory_bytes(file, first, where, way_out)
    contents = read_contents(data)
    check_stored(contents, storage, where)
    progress(f"run on {evaluation.examples or 'made-up'} held-out examples")
    found = evaluation.answers(EdgeRunner(file, inputs, outputs, where, way_out).run, where)
    check_answers(answers, found, where)
    candidate = Candidate(
        recipe="",
        size_bytes=len(data),
        shipped_bytes=deflate.packed_bytes(data),
        accuracy=evaluation.score(found),
        max_difference=largest_difference(answers, found),
        mean_difference=mean_difference(answers, found),
        peak_memory_bytes=memory,
        operators=contents.operators,
        confusion=evaluation.confusion(found),
    )
    rows = golden_rows(evaluation, answers)
    difference = largest_difference(examples_of(answers, rows), examples_of(found, rows))
    return Proof(candidate, difference, *sureness(evaluation, found, served))


def check_stored(contents: Contents, storage: str, where: str) -> None:
    """Quantisers leave what they do not know as it was, without a word. Raises SourceError where no weight is stored as promised."""
    wanted = _STORED_AS.get(storage, ())
    if not wanted or any(contents.weights.get(name) for name in wanted):
        return
    what = f"{contents.share('FLOAT32'):.0%} of its weights are still in 32 bits" if contents.weights else "it has no weights"
    largest = f" (the largest: {contents.largest_float})" if contents.largest_float else ""
    what = f"recipe {storage} did not take on this model: {what}{largest}"
    raise SourceError([Problem(where, what, f"{' or '.join(wanted)} weights", "use recipe float32")])


def check_answers(expected: Arrays, found: Arrays, where: str) -> None:
    """Raises SourceError where an answer has another shape than the source's, or a NaN or an infinity that the source's has not."""
    for name, values in expected.items():
        if found[name].shape != values.shape:
            what = f"output {name!r} has shape {list(found[name].shape[1:])} an example, the source's has {list(values.shape[1:])}"
            raise SourceError([Problem(where, f"the compiled model's {what}")])
        if values.dtype.kind in "OSU":
            if (odd := int((found[name] != values).any(axis=tuple(range(1, values.ndim))).sum())) > 0:
                raise SourceError([Problem(where, f"the compiled model answers another text on {odd} of {len(values)} examples")])
            continue
        if odd := _odd_examples(values, found[name]):
            what = f"output {name!r} is NaN or infinite on {odd} of {len(values)} examples where the source's is not"
            raise SourceError([Problem(where, f"the compiled model's {what}", "numbers", "use a recipe with more bits")])


def _odd_examples(expected: NDArray[Any], found: NDArray[Any]) -> int:
    """Examples with a difference that is no number."""
    odd = ~np.isfinite(found.astype(np.float64)) & np.isfinite(expected.astype(np.float64))
    return int(odd.reshape(len(odd), math.prod(odd.shape[1:])).any(axis=1).sum())
