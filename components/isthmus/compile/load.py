"""Loading a source, and describing it. Runs in the worker; this is where the user's code runs."""

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.source import FUNCTION, Source
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec

SEED = 1  # of weights that the user's function leaves to chance
SERVING_SIGNATURE = "serving_default"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SourceModel:
    """A loaded source, whatever its kind. run: inputs by name, with a batch dimension → outputs by name."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    run: Callable[[Arrays], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class KerasModel:
    """model: a Keras model. called: TensorFlow tensors in the order of the inputs → tensors by output name."""

    model: Any
    called: Callable[..., dict[str, Any]]
    described: SourceModel


def _seeded_tensorflow() -> Any:
    import keras
    import tensorflow as tf

    keras.utils.clear_session()  # layers without a name are numbered from the start
    keras.utils.set_random_seed(SEED)
    return tf


def _describe(name: str, dtype: Any, shape: Any) -> TensorSpec:
    numpy_name = "string" if dtype.name == "string" else dtype.name
    return TensorSpec(name, numpy_name, None if shape.rank is None else tuple(-1 if size is None else size for size in shape))


def _check_shapes(inputs: tuple[TensorSpec, ...], where: str) -> None:
    for spec in inputs:
        if not spec.shape or spec.shape[0] not in (-1, 1):
            found = "no batch dimension" if not spec.shape else f"a batch of exactly {spec.shape[0]}"
            raise SourceError(
                [
                    Problem(
                        where, f"input {spec.name!r} of the model has {found}", "a first dimension of any size", "save the model with one"
                    )
                ]
            )


def load_keras(source: Source, where: str) -> KerasModel:
    """The Keras model of a .keras file or a `module:function`. Raises SourceError."""
    tf = _seeded_tensorflow()
    import keras

    model = _call_function(source, where) if source.kind == FUNCTION else _load_file(source, where)
    if not isinstance(model, keras.Model):
        raise SourceError([Problem(where, f"{source.name} returned {type(model).__name__}", "a Keras model")])
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise SourceError(
            [
                Problem(
                    where,
                    f"the model of {source.name} has no signature: its inputs and outputs are not known",
                    "a functional model, or a Sequential one that starts with keras.Input",
                    "give it an Input, or export it as a SavedModel with a serving_default signature",
                )
            ]
        )
    names = [tensor.name for tensor in model.inputs]
    output_names = list(model.output_names)
    for kind, found in (("inputs", names), ("outputs", output_names)):
        if len(set(found)) != len(found):
            raise SourceError([Problem(where, f"two {kind} of the model have the same name: {', '.join(found)}", "a name for each")])

    def called(*tensors: Any) -> dict[str, Any]:
        result = model(keras.tree.pack_sequence_as(model.input, list(tensors)), training=False)
        return dict(zip(output_names, keras.tree.flatten(result), strict=True))

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        return {name: value.numpy() for name, value in called(*(tf.constant(arrays[name]) for name in names)).items()}

    def spec(name: str, tensor: Any) -> TensorSpec:
        return _describe(name, tf.as_dtype(tensor.dtype), tf.TensorShape(tensor.shape))

    inputs = tuple(spec(tensor.name, tensor) for tensor in model.inputs)
    _check_shapes(inputs, where)
    outputs = tuple(spec(name, tensor) for name, tensor in zip(output_names, model.outputs, strict=True))
    return KerasModel(model, called, SourceModel(inputs, outputs, run))


def _load_file(source: Source, where: str) -> Any:
    import keras

    try:
        return keras.saving.load_model(source.path, compile=False)
    except Exception as error:
        first = str(error).strip().split("\n")[0][:300]
        fix = (
            "give the model as module:function where it has classes or lambdas of its own"
            if isinstance(error, TypeError | ValueError)
            else ""
        )
        raise SourceError([Problem(where, f"Keras cannot load {source.name!r}: {type(error).__name__}: {first}", fix=fix)]) from error


def _call_function(source: Source, where: str) -> Any:
    module_name, function_name = source.name.split(":")
    sys.path.insert(0, str(source.base_directory))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        return function()
    except (Exception, SystemExit) as error:
        raise SourceError([_blame(error, source, where)]) from error


def _blame(error: BaseException, source: Source, where: str) -> Problem:
    """What was raised, and the last line of the user's own files on the way there."""
    own = {str(path) for _, path in source.files}
    base = source.base_directory
    line = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in own:
            path = Path(frame.filename)
            line = f" at {path.relative_to(base) if path.is_relative_to(base) else path}:{frame.lineno}"
    message = str(error).strip().split("\n")[0][:300]
    return Problem(where, f"{source.name} raised {type(error).__name__}: {message}{line}", "a Keras model")


def load_saved_model(source: Source, where: str) -> SourceModel:
    """The serving_default signature of a SavedModel. Raises SourceError."""
    tf = _seeded_tensorflow()
    try:
        loaded = tf.saved_model.load(str(source.path))
    except Exception as error:
        first = str(error).strip().split("\n")[0][:300]
        raise SourceError([Problem(where, f"TensorFlow cannot load {source.name!r}: {type(error).__name__}: {first}")]) from error
    signatures = loaded.signatures
    if SERVING_SIGNATURE not in signatures:
        found = ", ".join(sorted(signatures)) or "none"
        fix = "export it with model.export(), or tf.saved_model.save(…, signatures={'serving_default': …})"
        raise SourceError(
            [
                Problem(
                    where, f"the SavedModel {source.name!r} has no signature {SERVING_SIGNATURE} (it has: {found})", "that signature", fix
                )
            ]
        )
    function = signatures[SERVING_SIGNATURE]
    _, keywords = function.structured_input_signature
    inputs = tuple(_describe(name, spec.dtype, spec.shape) for name, spec in sorted(keywords.items()))
    outputs = tuple(_describe(name, t.dtype, t.shape) for name, t in sorted(function.structured_outputs.items()))
    if not inputs or not outputs:
        what = "inputs" if not inputs else "outputs"
        raise SourceError([Problem(where, f"signature {SERVING_SIGNATURE} of {source.name!r} has no {what}", "at least one of each")])
    _check_shapes(inputs, where)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        _ = loaded  # keeps the variables: the function alone holds them weakly
        answer = function(**{name: tf.constant(value) for name, value in arrays.items()})
        return {name: np.asarray(tensor.numpy()) for name, tensor in answer.items()}

    return SourceModel(inputs, outputs, run)
