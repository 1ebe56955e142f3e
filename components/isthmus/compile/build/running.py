"""Running the variants: what they answer. Runs in a worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Arrays
from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.sources.load import first_line
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec


class ServingRunner:
    """The serving variant, through TensorFlow as a server runs it. directory: with saved_model.pb."""

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._loaded = tf.saved_model.load(str(directory))
        self._function = self._loaded.signatures[SIGNATURE]

    def run(self, inputs: Arrays, /) -> dict[str, NDArray[Any]]:
        answer = self._function(**{name: self._tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in answer.items()}


class EdgeRunner:
    """The edge variant, through the interpreter that devices have, on one thread.

    Args:
        way_out: what to advise where the interpreter refuses the model.

    Raises:
        SourceError: the interpreter cannot load the file, or the file lacks one of these inputs and outputs.
    """

    def __init__(self, file: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str, way_out: str = "") -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._where, self._way_out = where, way_out
        try:
            self._interpreter = Interpreter(model_content=file.read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from error
        # A model that takes the same as another's output may lose an input in the conversion.
        sides = (("inputs", inputs, self._runner.get_input_details()), ("outputs", outputs, self._runner.get_output_details()))
        for side, wanted, found in sides:
            if missing := {spec.name for spec in wanted} - set(found):
                raise SourceError(
                    [Problem(where, f"the converted model lost its {side} {', '.join(sorted(missing))}", f"{side} that are used")]
                )

    def run(self, inputs: Arrays, /) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises SourceError where the interpreter fails on these inputs."""
        try:
            return {name: np.asarray(value) for name, value in self._runner(**inputs).items()}
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> SourceError:
        what = f"the edge interpreter cannot run the model: {first_line(error)}"
        return SourceError([Problem(self._where, what, fix=self._way_out)])
