"""What a release's edge variant answers, in the interpreter that devices have and in a process of its own: a file may end the process that
runs it. As a program (`python -m isthmus.compile.answering FILE INPUT OUTPUT VIEWS.npz ANSWERS.npz`): writes ANSWERS.npz and prints {}, or
prints {"refused": text}. `isthmus.compile.embedding` is the like program for what a layer makes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.sources.source import SERVING_SIGNATURE
from isthmus.errors import InputError, IsthmusError, Problem, SourceError, property_path
from isthmus.release.manifest import EDGE, Release, TensorSpec

TIMEOUT_SECONDS = 1800
_MODULE = "isthmus.compile.answering"
_MODULE_OF_LAYERS = "isthmus.compile.embedding"
_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Embeddings:
    """values: by view, what the layer makes, [examples, size]. layer: as `isthmus partition` counts them. name: its operator."""

    values: dict[str, NDArray[np.float64]]
    layer: int
    name: str


def edge_answers(release: Release, views: Arrays, model: str, where: str) -> dict[str, NDArray[Any]]:
    """The answers [examples, …] to each of some arrays of examples, by its name; each example is asked alone, as devices ask.

    Args:
        views: by name, [examples, …] of the model's one input. model, where: the paths of the model and of the views, for problems.

    Raises:
        InputError: the release has no edge variant, or more than one input or output; or views are not of the input's shape and type.
        SourceError: the interpreter refuses the file, dies of it, or does not come to an end.
    """
    return _asked(release, views, model, where)[0]


def edge_embeddings(release: Release, views: Arrays, layer: int | None, model: str, where: str) -> Embeddings:
    """What a layer of the edge variant makes of the examples, each asked alone.

    Args:
        layer: None: the last hidden one.
        views, model, where: as for `edge_answers`, and so are the errors; SourceError too where there is no such layer.
    """
    shape = release.manifest.outputs[0].shape if release.manifest.outputs else None
    width = prod(size for size in (shape or ())[1:] if size > 0)
    found, said = _asked(release, views, model, where, ("auto" if layer is None else str(layer), str(width)))
    values = {name: array.reshape(len(array), -1).astype(np.float64) for name, array in found.items()}
    return Embeddings(values, int(said["layer"]), str(said["name"]))


def _asked(release: Release, views: Arrays, model: str, where: str, of_layer: Sequence[str] = ()) -> tuple[dict[str, NDArray[Any]], Any]:
    problems, manifest = [], release.manifest
    if not manifest.has(EDGE):
        problems.append(Problem(model, "the release has no variant for devices", "a recipe that makes one, such as int8"))
    for side, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if len(specs) != 1:
            names = ", ".join(spec.name for spec in specs)
            problems.append(
                Problem(model, f"the model has {len(specs)} {side} ({names})", f"one of its {side}: of others nothing is known")
            )
    if not problems:
        problems = [
            found for name, values in views.items() if (found := _problem(values, manifest.inputs[0], property_path([name], where)))
        ]
    if problems:
        raise InputError(problems)
    file = release.path(manifest.variant(EDGE).files[0])
    dtype = np.dtype(manifest.inputs[0].dtype)
    asked = {name: values.astype(dtype) for name, values in views.items()}
    with tempfile.TemporaryDirectory(prefix="isthmus-answers-") as folder:
        return _run(file, (manifest.inputs[0].name, manifest.outputs[0].name), asked, Path(folder), where=model, of_layer=of_layer)


def _problem(values: NDArray[Any], spec: TensorSpec, path: str) -> Problem | None:
    shape, found = spec.shape, f"found {values.dtype} {list(values.shape)}"
    sizes = ", ".join("any" if size < 0 else str(size) for size in (shape or ())[1:])
    expected = f"{spec.dtype} [examples, {sizes}], the input `{spec.name}` of the model" if shape else f"{spec.dtype}"
    fits = shape is None or (
        values.ndim == len(shape) and all(size in (-1, real) for size, real in zip(shape[1:], values.shape[1:], strict=True))
    )
    if not fits or spec.dtype == "string" or values.dtype.kind not in _KINDS.get(np.dtype(spec.dtype).kind, ""):
        return Problem(path, found, expected)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return Problem(path, "holds values that are not finite", "numbers, as the model's input takes them")
    return None


def _run(
    file: Path, names: tuple[str, str], views: Arrays, folder: Path, *, where: str, of_layer: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], Any]:
    """The answers, and what the program said. names: of the input and the output. of_layer: LAYER and WIDTH, or nothing."""
    asked, answered = folder / "views.npz", folder / "answers.npz"
    # By number: a member may be called as one of numpy's arguments is.
    np.savez(asked, allow_pickle=False, **{f"view{place}": values for place, values in enumerate(views.values())})
    command = [sys.executable, "-m", _MODULE_OF_LAYERS if of_layer else _MODULE, str(file), *names, str(asked), str(answered), *of_layer]
    try:
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise SourceError([Problem(where, f"the edge interpreter did not end within {TIMEOUT_SECONDS} s")]) from error
    except OSError as error:
        raise IsthmusError(f"the edge interpreter's process did not start: {error.strerror or error}") from error
    if child.returncode != 0:
        last = (child.stderr.decode(errors="replace").strip().splitlines() or [""])[-1][:300]
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        raise SourceError([Problem(where, f"the edge interpreter dies of the model ({how}): {last}")])
    said = json.loads(child.stdout.splitlines()[-1])
    if "refused" in said:
        raise SourceError([Problem(where, f"the edge interpreter cannot run the model: {said['refused']}")])
    if "problem" in said:
        raise SourceError([Problem(where, **said["problem"])])
    with np.load(answered, allow_pickle=False) as archive:
        return {name: archive[f"view{place}"] for place, name in enumerate(views)}, said


def main(file: str, input_name: str, output_name: str, views: str, answers: str) -> dict[str, Any]:
    return asked_of(Path(file).read_bytes(), input_name, output_name, views, answers)


def asked_of(content: bytes, input_name: str, output_name: str, views: str, answers: str) -> dict[str, Any]:
    """Asks a file's interpreter for each example of VIEWS.npz, and writes ANSWERS.npz. Returns {}, or {"refused": text}."""
    from ai_edge_litert.interpreter import Interpreter

    with np.load(views, allow_pickle=False) as archive:
        asked = dict(archive)
    try:
        runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(SERVING_SIGNATURE)
        found = {
            name: np.concatenate([runner(**{input_name: values[at : at + 1]})[output_name] for at in range(len(values))])
            for name, values in asked.items()
        }
    except (ValueError, RuntimeError) as error:
        return {"refused": (str(error).strip().splitlines() or ["no reason given"])[0][:300]}
    np.savez(answers, allow_pickle=False, **found)
    return {}


def answer(found: dict[str, Any], channel: Any) -> None:
    """What a program says, as the last thing on its standard output."""
    channel.write(json.dumps(found) + "\n")
    channel.flush()


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answer
    answer(main(*sys.argv[1:]), channel)
