"""Classify, Regress and MultiInference: models whose input is serialised tf.Example messages."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorflow.core.example import example_pb2

from isthmus.server.bundle import Bundle
from isthmus.server.errors import ServingError, invalid
from isthmus.server.rest_examples import BYTES, FLOAT, INT64, Example, ExamplesRequest
from isthmus.server.tensors import Array
from isthmus_agent.protocol import DEFAULT_SIGNATURE
from isthmus_agent.protocol.dtypes import STRING, enum_name

Classes = list[tuple[bytes, float]]
Run = Callable[[str, dict[str, Array], Sequence[str]], dict[str, Array]]

_INPUTS = "inputs"
_CLASSES, _SCORES = "classes", "scores"
_OUTPUTS = "outputs"
_LISTS = {FLOAT: "float_list", INT64: "int64_list", BYTES: "bytes_list"}


def serialized(request: ExamplesRequest) -> list[bytes]:
    """The examples as a model takes them."""
    examples = [_message(example).SerializeToString() for example in request.examples]
    if request.context is None:
        return examples
    context = _message(request.context).SerializeToString()
    return [context + example for example in examples]  # two messages one after the other are their merger


def serialized_input(message: Any) -> list[bytes]:
    """The examples of an `Input` message. Raises ServingError where there is none."""
    kind = message.WhichOneof("kind")
    inner = getattr(message, kind) if kind else None
    if inner is None or not inner.examples:
        raise ServingError("INVALID_ARGUMENT", "Input is empty.")
    context = inner.context.SerializeToString() if kind == "example_list_with_context" else b""
    return [context + example.SerializeToString() for example in inner.examples]


def _message(example: Example) -> Any:
    message = example_pb2.Example()
    for name, feature in example.items():
        entry = message.features.feature[name]
        if feature.kind:
            getattr(entry, _LISTS[feature.kind]).value.extend(feature.values)
    return message


def classify(run: Run, bundle: Bundle, signature_name: str, examples: Sequence[bytes]) -> list[Classes]:
    """Label and score of each class, for each example. run: the bundle's own, or one in batches. Raises ServingError."""
    name = signature_name or DEFAULT_SIGNATURE
    check_classification(bundle, name, no_signature)
    fetched = [key for key in (_CLASSES, _SCORES) if key in bundle.signatures[name].outputs]
    outputs = run(name, {_INPUTS: _vector(examples)}, fetched)
    for key, array in outputs.items():
        _check_classes(key, array, len(examples))
    sizes = [array.shape[1] for array in outputs.values()]
    if len(set(sizes)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}")
    labels = outputs[_CLASSES].tolist() if _CLASSES in outputs else [[b""] * sizes[0]] * len(examples)
    scores = outputs[_SCORES].tolist() if _SCORES in outputs else [[0.0] * sizes[0]] * len(examples)
    return [list(zip(*row, strict=True)) for row in zip(labels, scores, strict=True)]


def regress(run: Run, bundle: Bundle, signature_name: str, examples: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """One value for each example. Raises ServingError."""
    name = signature_name or DEFAULT_SIGNATURE
    check_regression(bundle, name, no_signature)
    array = run(name, {_INPUTS: _vector(examples)}, [_OUTPUTS])[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}")
    if len(array) != len(examples):
        raise invalid(f"Input batch size did not match output batch size: {len(examples)} vs. {len(array)}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum(array)}")
    return array.ravel()


def check_classification(bundle: Bundle, name: str, unknown: Any) -> None:
    """Raises ServingError where the signature is none that classifies; `unknown` makes the error where there is none."""
    signature, definition = _signature(bundle, name, unknown)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        raise invalid(f"No classification inputs found in SignatureDef: {definition}")
    if not signature.outputs.keys() & {_CLASSES, _SCORES}:
        raise invalid(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". Signature was: {definition}'
        )


def check_regression(bundle: Bundle, name: str, unknown: Any) -> None:
    """Raises ServingError where the signature is none that regresses."""
    signature, definition = _signature(bundle, name, unknown)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid(f"No regression inputs found in SignatureDef: {definition}")
    if _OUTPUTS not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {definition}")


def _signature(bundle: Bundle, name: str, unknown: Any) -> tuple[Any, Any]:
    if name not in bundle.signatures:
        raise unknown(name)
    return bundle.signatures[name], bundle.signature_defs[name]


def no_signature(name: str) -> ServingError:
    """The error of a call for a signature that there is not."""
    return invalid(f"No signature was found with the name: {name}")


def _check_classes(key: str, array: Array, count: int) -> None:
    what, wanted = ("classes", "DT_STRING") if key == _CLASSES else ("scores", "DT_FLOAT")
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if array.dtype != (object if key == _CLASSES else np.float32):
        raise invalid(f"Expected {what} Tensor of {wanted}. Got: {_enum(array)}")
    if len(array) != count:
        raise invalid(f"Expected {what} output batch size of {count}. Got: {len(array)}")


def _vector(examples: Iterable[bytes]) -> Array:
    return np.array(list(examples), dtype=object)


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _enum(array: Array) -> str:
    return enum_name(STRING if array.dtype == object else array.dtype.name)
