"""The self-test: a content's golden vectors, in the interpreter that will serve it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.protocol import DEFAULT_SIGNATURE, RestError, Signature, parse_predict
from isthmus_agent.server.model import InterpreterError, Model

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


class SelfTestError(Exception):
    """The model answers its golden vectors with something else, or not at all."""


def check(model: Model, golden: bytes) -> float:
    """The largest difference between the model's answer and the golden one.

    golden: JSON, `inputs` and `outputs` by name in column form, one example an entry.

    Raises FormatError where that cannot be read, SelfTestError where the difference is above the manifest's tolerance, or where there is no
    answer.
    """
    signature, tolerance = model.signature, model.manifest.golden_tolerance
    inputs, wanted = vectors(golden, signature)
    difference = max((_difference(model, inputs, wanted, part) for part in _parts(inputs, model)), default=float("inf"))
    if not difference <= tolerance:
        raise SelfTestError(f"golden vectors: an answer is off by {difference:.6g}, allowed is {tolerance:.6g}")
    return difference


def vectors(golden: bytes, signature: Signature) -> tuple[Arrays, Arrays]:
    """The inputs and the outputs of golden vectors. Raises FormatError where they cannot be read."""
    try:
        document = json.loads(golden)
        return _arrays(document["inputs"], signature), _arrays(document["outputs"], Signature(signature.outputs, {}))
    except (ValueError, KeyError, TypeError, RestError) as error:
        raise FormatError("golden", f"the golden vectors cannot be read ({type(error).__name__} {str(error)[:200]})") from error


def _parts(inputs: Arrays, model: Model) -> list[slice]:
    """Each example alone, as the tolerance was measured; then all at once, where the signature promises any batch size."""
    examples = min((len(array) for array in inputs.values()), default=0)
    parts = [slice(index, index + 1) for index in range(examples)]
    if examples > 1 and all(info.shape is not None and info.shape[:1] == (-1,) for info in model.signature.inputs.values()):
        parts.append(slice(None))
    return parts


def _difference(model: Model, inputs: Arrays, wanted: Arrays, part: slice) -> float:
    try:
        found = model.predict({name: array[part] for name, array in inputs.items()})
    except (InterpreterError, RestError) as error:
        raise SelfTestError(f"the golden vectors get no answer: {error}") from error
    return max_difference(found, {name: array[part] for name, array in wanted.items()})


def _arrays(columns: Any, signature: Signature) -> Arrays:
    """The arrays in a column form, read as a request's would be: of the signature's dtypes, by the names of its inputs."""
    body = json.dumps({"inputs": columns}).encode()
    return parse_predict(body, {DEFAULT_SIGNATURE: signature}).inputs


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
