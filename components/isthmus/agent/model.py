"""A release's edge variant in the LiteRT interpreter."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import IntegrityError, IsthmusError
from isthmus.release.manifest import EDGE, Manifest, TensorSpec
from isthmus_agent.protocol import RestError, Signature, TensorInfo

Array = npt.NDArray[Any]


class InterpreterError(IsthmusError):
    """The interpreter could not answer. The input may be fine: another interpreter may answer it."""


class Model:
    """One loaded release. Threads may share it: one prediction runs at a time.

    Raises IntegrityError where the interpreter cannot load the file, or where the file lacks what the manifest names.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.manifest = manifest
        self.signature = Signature(_tensors(manifest.inputs), _tensors(manifest.outputs))
        # The content, not the path: a mapped file that is damaged later would take the process down.
        (file,) = manifest.variant(EDGE).files
        content = (directory / file.path).read_bytes()
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            known = self._interpreter.get_signature_list()
        except (ValueError, RuntimeError) as error:
            raise IntegrityError(f"the interpreter cannot load {file.path}: {_first_line(error)}") from error
        if manifest.signature not in known:
            raise IntegrityError(f"{file.path} has no signature {manifest.signature!r}, only {sorted(known)}")
        names = {"inputs": self.signature.inputs, "outputs": self.signature.outputs}
        for kind, wanted in names.items():
            if sorted(known[manifest.signature][kind]) != sorted(wanted):
                raise IntegrityError(f"{file.path} has the {kind} {sorted(known[manifest.signature][kind])}, not {sorted(wanted)}")
        self._run = self._interpreter.get_signature_runner(manifest.signature)
        self._lock = threading.Lock()

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. inputs: by name, of the signature's dtypes; batches of any size.

        Raises RestError (400) where a shape does not fit, InterpreterError where the interpreter fails.
        """
        self._check_shapes(inputs)
        with self._lock:
            try:
                return dict(self._run(**inputs))
            except (ValueError, RuntimeError) as error:
                raise InterpreterError(f"the interpreter failed: {_first_line(error)}") from error

    def _check_shapes(self, inputs: Mapping[str, Array]) -> None:
        for name, array in inputs.items():
            wanted = self.signature.inputs[name].shape
            fits = wanted is None or (
                array.ndim == len(wanted) and all(size in (-1, found) for size, found in zip(wanted, array.shape, strict=True))
            )
            # The interpreter would resize to anything, and answer with nonsense.
            if not fits or 0 in array.shape:
                raise RestError(400, f"input {name!r} has shape {_shape(array.shape)}, expected {_shape(wanted or ())}")


def max_difference(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """The largest absolute difference of any element; infinity where names, shapes, strings or not-a-numbers differ."""
    if found.keys() != wanted.keys():
        return float("inf")
    largest = 0.0
    for name, array in found.items():
        other = wanted[name]
        if array.shape != other.shape:
            return float("inf")
        if array.dtype.kind in "OSU":
            if not np.array_equal(array, other):
                return float("inf")
            continue
        left, right = array.astype(np.float64), other.astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            difference = np.where((left == right) | (np.isnan(left) & np.isnan(right)), 0.0, np.abs(left - right))
        largest = max(largest, float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)))
    return largest


def _tensors(specs: Iterable[TensorSpec]) -> dict[str, TensorInfo]:
    return {spec.name: TensorInfo(spec.dtype, spec.shape, spec.name) for spec in specs}


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
