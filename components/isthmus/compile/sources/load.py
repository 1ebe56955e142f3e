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

from isthmus.compile.memory import check_memory
from isthmus.compile.sources.keras_file import unpacked_bytes
from isthmus.compile.sources.keras_signature import called_with, leaves, recorded_arguments
from isthmus.compile.sources.saved_model import check_safe, read_graph, signature_of
from isthmus.compile.sources.source import FUNCTION, Source
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec

SEED = 1  # of weights that the user's function leaves to chance
MESSAGE_CHARACTERS = 300
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


def tensor_spec(spec: TensorSpec) -> Any:
    """TensorFlow's form of a spec."""
    import tensorflow as tf

    shape = None if spec.shape is None else [None if size == -1 else size for size in spec.shape]
    return tf.TensorSpec(shape, tf.as_dtype(spec.dtype), name=spec.name)


def _seeded_tensorflow() -> Any:
    import keras
    import tensorflow as tf

    keras.utils.clear_session()  # layers without a name are numbered from the start
    keras.utils.set_random_seed(SEED)
    return tf


def _describe(name: str, dtype: Any, shape: Any) -> TensorSpec:
    return TensorSpec(name, dtype.name, None if shape.rank is None else tuple(-1 if size is None else size for size in shape))


def check_shapes(inputs: tuple[TensorSpec, ...], where: str) -> None:
    """Raises SourceError where an input does not take one example in a batch."""
    for spec in inputs:
        if not spec.shape or spec.shape[0] not in (-1, 1):
            found = "no batch dimension" if not spec.shape else f"a batch of exactly {spec.shape[0]}"
            what = f"input {spec.name!r} of the model has {found}"
            raise SourceError([Problem(where, what, "a first dimension of any size", "save the model with one")])


def first_line(error: BaseException) -> str:
    """What an error says, as far as a message for a user can hold it."""
    return (str(error).strip().split("\n")[0] or "no reason given")[:MESSAGE_CHARACTERS]


def load_keras(source: Source, where: str) -> KerasModel:
    """The Keras model of a .keras file or a `module:function`. Raises SourceError."""
    if source.kind != FUNCTION:
        check_memory(unpacked_bytes(source.path), source.name, where)
    _seeded_tensorflow()
    if source.custom_objects:
        _import(source, source.custom_objects, where.removesuffix("model") + "custom_objects", "a module that can be imported")
    model = _call_function(source, where) if source.kind == FUNCTION else _load_file(source, where)
    return describe_keras(model, source.name, where)


def describe_keras(model: Any, name: str, where: str) -> KerasModel:
    """What goes into a Keras model and comes out of it: functional, Sequential or subclassed. Raises SourceError.

    Args:
        name: what the model is called in messages.
    """
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        raise SourceError([Problem(where, f"{name} returned {type(model).__name__}", "a Keras model")])
    if getattr(model, "inputs", None) and getattr(model, "outputs", None):
        inputs = tuple(_describe(tensor.name, tf.as_dtype(tensor.dtype), tf.TensorShape(tensor.shape)) for tensor in model.inputs)

        # A Sequential model has neither names nor structure: its one output is called as its last layer is, as in a functional model.
        sequential = isinstance(model, keras.Sequential)
        structure, names = (model.inputs[0], [model.layers[-1].name]) if sequential else (model.input, list(model.output_names))
        _check_names("outputs", names, where)

        def answer(*tensors: Any) -> dict[str, Any]:
            result = model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)
            return dict(zip(names, keras.tree.flatten(result), strict=True))

        found = zip(names, model.outputs, strict=True)
        outputs = tuple(_describe(key, tf.as_dtype(tensor.dtype), tf.TensorShape(tensor.shape)) for key, tensor in found)
    else:
        arguments = recorded_arguments(model, name, where)
        inputs = tuple(_describe(key, tf.as_dtype(model.input_dtype), tf.TensorShape(shape)) for key, shape in leaves(arguments))
        answer = called_with(model, arguments)
        outputs = _traced_outputs(answer, inputs, name, where)
    _check_names("inputs", [spec.name for spec in inputs], where)
    check_shapes(inputs, where)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        return {key: value.numpy() for key, value in answer(*(tf.constant(arrays[spec.name]) for spec in inputs)).items()}

    return KerasModel(model, answer, SourceModel(inputs, outputs, run))


def _check_names(kind: str, found: list[str], where: str) -> None:
    if len(set(found)) != len(found):
        raise SourceError([Problem(where, f"two {kind} of the model have the same name: {', '.join(found)}", "a name for each")])


def _traced_outputs(answer: Callable[..., dict[str, Any]], inputs: tuple[TensorSpec, ...], name: str, where: str) -> tuple[TensorSpec, ...]:
    import tensorflow as tf

    try:
        traced = tf.function(answer, autograph=False).get_concrete_function(*map(tensor_spec, inputs))
    except Exception as error:
        raise SourceError([Problem(where, f"the model of {name} cannot be called: {type(error).__name__}: {first_line(error)}")]) from error
    return tuple(_describe(key, tensor.dtype, tensor.shape) for key, tensor in traced.structured_outputs.items())


_ADVICE = {
    "Could not locate": "register it with keras.saving.register_keras_serializable in a module of the project, "
    "and name that module in custom_objects",
    "safe_mode": "replace what carries code, or set allow_unsafe: true where you trust whoever made the file",
}


def _load_file(source: Source, where: str) -> Any:
    import keras

    try:
        return keras.saving.load_model(source.path, compile=False, safe_mode=not source.allow_unsafe)
    except Exception as error:
        text = first_line(error).partition(" You can override")[0].partition(" Full object config")[0]
        what = f"Keras cannot load {source.name!r}: {type(error).__name__}: {text}"
        fix = next((advice for words, advice in _ADVICE.items() if words in str(error)), "")
        raise SourceError([Problem(where, what, "a sound .keras file" if not fix else "", fix)]) from error


def _import(source: Source, module: str, where: str, expected: str) -> Any:
    base = str(source.base_directory)
    if base not in sys.path:
        sys.path.insert(0, base)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise SourceError([_blame(error, source, module, where, expected)]) from error


def _call_function(source: Source, where: str) -> Any:
    module_name, function_name = source.name.split(":")
    module = _import(source, module_name, where, "a Keras model")
    try:
        return getattr(module, function_name)()
    except (Exception, SystemExit) as error:
        raise SourceError([_blame(error, source, source.name, where, "a Keras model")]) from error


def _blame(error: BaseException, source: Source, name: str, where: str, expected: str) -> Problem:
    """What was raised, and the last line of the user's own files on the way there."""
    own = {str(path) for _, path in (*source.files, *source.custom_files)}
    base = source.base_directory
    line = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in own:
            path = Path(frame.filename)
            line = f" at {path.relative_to(base) if path.is_relative_to(base) else path}:{frame.lineno}"
    return Problem(where, f"{name} raised {type(error).__name__}: {first_line(error)}{line}", expected)


def load_saved_model(source: Source, where: str) -> SourceModel:
    """A signature of a SavedModel, of TensorFlow 1 or 2. Raises SourceError."""
    check_memory(sum(path.stat().st_size for _, path in source.files), source.name, where)
    tf = _seeded_tensorflow()
    graph = read_graph(source.path, source.name, where)
    if not source.allow_unsafe:
        check_safe(graph, source.name, where)
    signature = signature_of(graph, source, where)
    try:
        loaded = tf.saved_model.load(str(source.path), tags=["serve"])
        function = loaded.signatures[signature]
    except Exception as error:
        what = f"TensorFlow cannot load {source.name!r}: {type(error).__name__}: {first_line(error)}"
        raise SourceError([Problem(where, what, "a whole SavedModel", "save or copy it again")]) from error
    _, keywords = function.structured_input_signature
    inputs = tuple(_describe(name, spec.dtype, spec.shape) for name, spec in sorted(keywords.items()))
    outputs = tuple(_describe(name, t.dtype, t.shape) for name, t in sorted(function.structured_outputs.items()))
    if not inputs or not outputs:
        what = f"signature {signature} of {source.name!r} has no {'inputs' if not inputs else 'outputs'}"
        raise SourceError([Problem(where, what, "at least one of each")])
    check_shapes(inputs, where)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        _ = loaded  # keeps the variables: the function alone holds them weakly
        answer = function(**{name: tf.constant(value) for name, value in arrays.items()})
        return {name: np.asarray(tensor.numpy()) for name, tensor in answer.items()}

    return SourceModel(inputs, outputs, run)
