"""A content in the LiteRT interpreter."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.protocol import RestError
from isthmus_agent.server.manifest import Manifest

Array = npt.NDArray[Any]


class InterpreterError(Exception):
    """The interpreter could not answer. The input may be fine: another interpreter may answer it."""


class Model:
    """One loaded content. signatures: names of all that the file has. most_batch: examples that it takes at once, where the signature
    promises any number of them.

    Raises FormatError where the interpreter cannot load the file, or where the file lacks what the manifest names.
    """

    def __init__(self, content: bytes, manifest: Manifest, *, threads: int, most_batch: int) -> None:
        self.manifest = manifest
        self.signature = manifest.tensors
        try:
            # The content, not the path: a mapped file that is damaged later would take the process down.
            interpreter = Interpreter(model_content=content, num_threads=threads)
            known = interpreter.get_signature_list()
        except (ValueError, RuntimeError) as error:
            raise FormatError("", f"the interpreter cannot load the model: {first_line(error)}") from error
        if manifest.signature not in known:
            raise FormatError("", f"the model has no signature {manifest.signature!r}, only {sorted(known)}")
        for kind, wanted in {"inputs": self.signature.inputs, "outputs": self.signature.outputs}.items():
            if sorted(known[manifest.signature][kind]) != sorted(wanted):
                raise FormatError("", f"the model has the {kind} {sorted(known[manifest.signature][kind])}, not {sorted(wanted)}")
        self._interpreter, self._heads = interpreter, dict[str, Any]()
        self.signatures = frozenset(known)
        self._run = interpreter.get_signature_runner(manifest.signature)
        self._most_batch = most_batch
        infos = (*self.signature.inputs.values(), *self.signature.outputs.values())
        self.takes_any_batch = all(info.shape is not None and info.shape[:1] == (-1,) for info in infos)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. inputs: by name, of the signature's dtypes; batches of any size.

        Raises RestError (400) where a shape does not fit, InterpreterError where the interpreter fails.
        """
        self.check_shapes(inputs)
        sizes = {len(array) for array in inputs.values()} if self.takes_any_batch else {0}
        size = max(sizes)
        if len(sizes) > 1 or size <= self._most_batch:
            return self._at_once(inputs)
        parts = [slice(start, min(size, start + self._most_batch)) for start in range(0, size, self._most_batch)]
        answers = [self._part(inputs, part) for part in parts]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _part(self, inputs: Mapping[str, Array], part: slice) -> dict[str, Array]:
        found = self._at_once({name: array[part] for name, array in inputs.items()})
        if any(array.ndim == 0 or len(array) != part.stop - part.start for array in found.values()):
            raise InterpreterError("the interpreter failed: it answers with another number of examples than it was asked")
        return found

    def _at_once(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return dict(self._run(**inputs))
        except (ValueError, RuntimeError) as error:
            raise InterpreterError(f"the interpreter failed: {first_line(error)}") from error

    def head(self, signature: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What another signature of the file makes, by name, of those of the inputs that it reads. Raises InterpreterError."""
        try:
            if signature not in self._heads:
                self._heads[signature] = self._interpreter.get_signature_runner(signature)
            run = self._heads[signature]
            return dict(run(**{name: inputs[name] for name in run.get_input_details()}))
        except (ValueError, RuntimeError, KeyError) as error:
            raise InterpreterError(f"the interpreter failed: {first_line(error)}") from error

    def check_shapes(self, inputs: Mapping[str, Array]) -> None:
        """Raises RestError (400) where a shape does not fit."""
        for name, array in inputs.items():
            wanted = self.signature.inputs[name].shape
            fits = wanted is None or (
                array.ndim == len(wanted) and all(size in (-1, found) for size, found in zip(wanted, array.shape, strict=True))
            )
            # The interpreter would resize to anything, and answer with nonsense.
            if not fits or 0 in array.shape:
                raise RestError(400, f"input {name!r} has shape {_shape(array.shape)}, expected {_shape(wanted or ())}")


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def first_line(error: Exception) -> str:
    """The beginning of an error's text, on one line."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
