"""The files of a batch job: examples that are read piece by piece, and answers that are written where they belong.

Neither is ever in memory as a whole: inputs are mapped, answers go into mapped files in the folder `OUTPUT.partial` beside the
output and become the output, in one step, when all are there. That folder also says which rows are done, for `--resume`.
"""

import fcntl
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import InputError, PlatformError, Problem, ResourceFullError
from isthmus_agent.core.splitting import Rows, joined
from isthmus_agent.protocol.dtypes import dtype_name, element_type

Array = NDArray[Any]
_NPY, _NPZ = ".npy", ".npz"
_STATE = "state.json"
_INPUTS = "inputs"


@dataclass(frozen=True)
class Examples:
    """arrays: by the model's input, each mapped, of shape (rows, …). dtypes: what the model takes. source: what tells the file."""

    arrays: Mapping[str, Array]
    dtypes: Mapping[str, np.dtype]
    source: Mapping[str, Any]

    @property
    def rows(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def numbers_per_row(self) -> int:
        return sum(array[:1].size for array in self.arrays.values())

    def piece(self, rows: Rows) -> dict[str, Array]:
        """These rows as the model's types, in memory."""
        return {name: np.ascontiguousarray(array[slice(*rows)], dtype=self.dtypes[name]) for name, array in self.arrays.items()}


@contextmanager
def open_partial(output: Path, *, resume: bool) -> Iterator[Path]:
    """The folder `OUTPUT.partial`, ours alone while it is open; empty unless a job is resumed.

    Raises InputError where another job has it.
    """
    folder = output.with_name(f"{output.name}.partial")
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _own(handle, output)
        for file in () if resume else list(folder.iterdir()):
            file.unlink()
        try:
            yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()  # where nothing is kept
    finally:
        os.close(handle)


def _own(handle: int, output: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError([Problem("--output", f"another job is writing {str(output)!r}", "one job for each output")]) from None


def file_problems(input: Path, output: Path) -> list[Problem]:
    """What can be seen to be wrong with the two before anybody is asked."""
    found = []
    for option, file in (("--input", input), ("--output", output)):
        if file.suffix not in (_NPY, _NPZ):
            found.append(Problem(option, f"{file.name!r} is of no known format", f"{_NPY}, or {_NPZ} where there are several arrays"))
    if not input.is_file():
        found.append(Problem("--input", f"there is no file {str(input)!r}"))
    if not output.absolute().parent.is_dir():
        found.append(Problem("--output", f"there is no folder {str(output.parent)!r}", "a folder that exists"))
    elif output.is_dir():
        found.append(Problem("--output", f"{str(output)!r} is a folder", "a file's name"))
    return found


def open_examples(file: Path, signature: Mapping[str, Any], scratch: Path) -> Examples:
    """The examples of a .npy or .npz file, checked against what the model takes.

    Args:
        signature: as TensorFlow Serving's metadata call gives it. scratch: a folder for the arrays of an .npz file, which cannot be
            mapped where they are.

    Raises InputError with everything that does not fit.
    """
    inputs = signature["inputs"]
    found = _arrays(file, scratch)
    if file.suffix == _NPY:
        if len(inputs) != 1:
            names = ", ".join(sorted(inputs))
            raise InputError([Problem("--input", f"the model has {len(inputs)} inputs", f"a {_NPZ} file with {names}")])
        found = {next(iter(inputs)): found[""]}
    problems = [
        Problem(f"--input.{name}", "the model has no such input", f"one of {', '.join(sorted(inputs))}") for name in found.keys() - inputs
    ]
    problems += [Problem(f"--input.{name}", "is missing", "one array for each of the model's inputs") for name in inputs.keys() - found]
    for name in found.keys() & inputs.keys():
        problems += _misfits(found[name], inputs[name], f"--input.{name}")
    lengths = {name: len(array) for name, array in found.items() if array.ndim}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} has {rows}" for name, rows in sorted(lengths.items()))
        problems.append(Problem("--input", f"numbers of rows differ: {text}", "one example in each row of every array"))
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.path))
    stat = file.stat()
    source = {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "rows": next(iter(lengths.values()))}
    return Examples(found, {name: _dtype(inputs[name]) for name in found}, source)


def _arrays(file: Path, scratch: Path) -> dict[str, Array]:
    """By name; a .npy file's has none."""
    try:
        if file.suffix == _NPY:
            return {"": _mapped(file)}
        found = {}
        with zipfile.ZipFile(file) as archive:
            for index, entry in enumerate(archive.namelist()):
                copy = scratch / f"{_INPUTS}-{index}{_NPY}"
                with archive.open(entry) as source, copy.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                found[entry.removesuffix(_NPY)] = _mapped(copy)
        return found
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError([Problem("--input", f"{file.name!r} cannot be read: {error}", f"a {file.suffix} file of numbers")]) from None


def _mapped(file: Path) -> Array:
    array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _misfits(array: Array, info: Mapping[str, Any], path: str) -> list[Problem]:
    shape, element = _shape(info), element_type(dtype_name(info["dtype"]))
    if element is None or element.kind == "O":
        return [Problem(path, f"the model takes {info['dtype']}, which an array file cannot hold", "an input of numbers", "use predict")]
    found = []
    if not shape or shape[0] != -1:
        found.append(Problem(path, f"the model takes the shape {shape}", "a model of which the first dimension is any number of examples"))
    elif array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape[1:], array.shape[1:], strict=True)):
        found.append(Problem(path, f"has shape {array.shape}", f"{('any number', *shape[1:])}", "one example in each row"))
    elif not len(array):
        found.append(Problem(path, "has no rows", "at least one example"))
    if not np.can_cast(array.dtype, element.numpy, "same_kind") and array.dtype.kind not in "iu":
        found.append(Problem(path, f"holds {array.dtype}", f"numbers that are {element.numpy} without loss of their kind"))
    return found


def _shape(info: Mapping[str, Any]) -> tuple[int, ...]:
    if info["tensor_shape"].get("unknown_rank"):
        return ()
    return tuple(int(dim["size"]) for dim in info["tensor_shape"].get("dim", []))


def _dtype(info: Mapping[str, Any]) -> np.dtype:
    element = element_type(dtype_name(info["dtype"]))
    assert element is not None  # noqa: S101  checked before
    return element.numpy


@dataclass(frozen=True)
class _State:
    """What is done, as the file of that name holds it. shapes: of one row, by output; empty before the first answer."""

    source: Mapping[str, Any]
    model: str
    shapes: Mapping[str, Sequence[int]]
    done: Sequence[Rows]


class Answers:
    """The output while it grows, in the folder that `open_partial` made.

    model: what tells the release; with `resume` it has to be the same one, and so have the input. done: rows that are there.
    """

    def __init__(self, output: Path, folder: Path, examples: Examples, signature: Mapping[str, Any], model: str, *, resume: bool) -> None:
        """Raises InputError: outputs that no array file can hold, or nothing to resume."""
        self._output, self._folder = output, folder
        self._source, self._model, self._rows = dict(examples.source), model, examples.rows
        self._dtypes = _output_dtypes(output, signature["outputs"])
        self._arrays: dict[str, Array] = {}
        self._first = threading.Lock()
        self.done: list[Rows] = []
        if resume:
            self._go_on()

    def _go_on(self) -> None:
        try:
            state = _State(**json.loads((self._folder / _STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            fix = "leave out --resume"
            raise InputError(
                [Problem("--resume", f"{str(self._folder)!r} holds nothing to go on from", "an unfinished job", fix)]
            ) from None
        changed = [name for name, old, new in (("input", state.source, self._source), ("model", state.model, self._model)) if old != new]
        if changed or state.shapes.keys() - self._dtypes.keys():
            what = f"the {' and the '.join(changed or ['outputs'])} changed since the job was begun"
            raise InputError([Problem("--resume", what, "the same input and release", "leave out --resume, which begins anew")])
        if state.shapes:
            self._map({name: tuple(shape) for name, shape in state.shapes.items()}, is_new=False)
        self.done = [(start, stop) for start, stop in state.done]

    def write(self, rows: Rows, answer: Mapping[str, Any]) -> None:
        """An answer's arrays into their rows; nobody else writes these. Several threads may.

        Raises PlatformError where it does not fit, ResourceFullError where the disk has no room for all answers.
        """
        values = answer.get("outputs")
        values = {next(iter(self._dtypes)): values} if len(self._dtypes) == 1 else values
        pieces = {name: self._piece(name, values, rows) for name in self._dtypes}
        with self._first:  # what a row looks like is known with the first answer
            if not self._arrays:
                self._map({name: piece.shape[1:] for name, piece in pieces.items()}, is_new=True)
        for name, piece in pieces.items():
            wanted = self._arrays[name].shape[1:]
            if piece.shape[1:] != wanted:
                raise PlatformError(f"output {name!r} has the shape {piece.shape[1:]} in rows {_text(rows)}, and {wanted} in others")
            self._arrays[name][slice(*rows)] = piece

    def _piece(self, name: str, values: Any, rows: Rows) -> Array:
        try:
            piece = np.asarray(values[name], dtype=self._dtypes[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise PlatformError(f"what was answered for rows {_text(rows)} has no output {name!r} of {self._dtypes[name]}") from None
        if not piece.ndim or len(piece) != rows[1] - rows[0]:
            raise PlatformError(f"output {name!r} of rows {_text(rows)} has shape {piece.shape}: it does not have one entry an example")
        return piece

    def _map(self, shapes: Mapping[str, tuple[int, ...]], *, is_new: bool) -> None:
        mapped: dict[str, Array] = {}
        for index, (name, shape) in enumerate(shapes.items()):
            file, dtype = self._folder / f"{index}{_NPY}", self._dtypes[name]
            if is_new:
                mapped[name] = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(self._rows, *shape))
                _reserve(file)
            else:
                mapped[name] = np.load(file, mmap_mode="r+", allow_pickle=False)
        self._arrays = mapped

    def save(self) -> None:
        """Notes what is done, after it is on the disk."""
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]
        shapes = {name: array.shape[1:] for name, array in self._arrays.items()}
        self.done = joined(self.done)
        new = self._folder / f"{_STATE}.new"
        new.write_text(json.dumps(asdict(_State(self._source, self._model, shapes, self.done))), encoding="utf-8")
        os.replace(new, self._folder / _STATE)

    def finish(self) -> None:
        """All rows are there: the output takes its name, and the folder goes."""
        self.save()
        names, self._arrays = list(self._arrays), {}
        whole = self._folder / f"0{_NPY}"
        if self._output.suffix == _NPZ:
            whole = self._folder / f"all{_NPZ}"
            with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for index, name in enumerate(names):
                    archive.write(self._folder / f"{index}{_NPY}", f"{name}{_NPY}")
        os.replace(whole, self._output)
        for file in self._folder.iterdir():
            file.unlink()


def _reserve(file: Path) -> None:
    """A mapped file of holes would end the process with a signal where the disk is full. Raises ResourceFullError."""
    with file.open("r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            raise ResourceFullError(f"the answers need {size} bytes in {str(file.parent)!r}: {error.strerror}") from None


def _output_dtypes(output: Path, outputs: Mapping[str, Any]) -> dict[str, np.dtype]:
    problems, found = [], {}
    for name, info in sorted(outputs.items()):
        element = element_type(dtype_name(info["dtype"]))
        if element is None or element.kind == "O":
            problems.append(Problem("--output", f"the model's output {name!r} is {info['dtype']}", "outputs of numbers"))
        else:
            found[name] = element.numpy
    if output.suffix == _NPY and len(outputs) != 1:
        problems.append(Problem("--output", f"the model has {len(outputs)} outputs: {', '.join(sorted(outputs))}", f"a {_NPZ} file"))
    if problems:
        raise InputError(problems)
    return found


def _text(rows: Rows) -> str:
    return f"{rows[0]} to {rows[1] - 1}"
