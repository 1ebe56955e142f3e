"""JSON values into arrays: numpy's way where it is safe, element by element where it is not."""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.protocol import jsontext
from isthmus_agent.protocol.dtypes import ElementType, element_type, json_type, tf_name
from isthmus_agent.protocol.errors import RestError, invalid, unimplemented

Array = npt.NDArray[Any]


def read_numbers(value: Any, dtype: str, plain: bool) -> Array | None:
    """Nested lists of numbers as an array of dtype; None where `walk` has to look.

    Args:
        value: a parsed JSON value.
        dtype: as in `TensorInfo`.
        plain: the value has no booleans in it (numpy would take them for numbers).
    """
    element = json_type(dtype)
    if element is None or not plain or element.kind not in "fiu":
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths, or nested too deeply
        return None
    if array.size == 0 or not _fits(array, element):
        return None
    with np.errstate(over="ignore"):  # a double beyond float's range becomes infinity
        return array.astype(element.numpy)


def _fits(array: Array, element: ElementType) -> bool:
    if element.kind == "f":
        return array.dtype.kind in "fiu"
    return array.dtype.kind in "iu" and element.low <= int(array.min()) and int(array.max()) <= element.high


@dataclass(frozen=True)
class Walked:
    """The leaves of a JSON value in C order, and its shape as told by the first element of each list."""

    values: list[Any]
    shape: tuple[int, ...]


def walk(value: Any, dtype: str) -> Walked:
    """The leaves of value, each checked against dtype. Raises RestError (400; 501 where JSON has no form for dtype)."""
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    values: list[Any] = []
    _fill(value, 0, shape, dtype, values)
    return Walked(values, tuple(shape))


def as_array(values: list[Any], shape: tuple[int, ...], dtype: str) -> Array:
    """values in C order as an array of dtype and shape; there may be more of them than the shape has room for."""
    element = element_type(dtype)
    if element is None:
        raise unimplemented(f"no JSON form for {tf_name(dtype)}")
    if math.prod(shape) < len(values):
        del values[math.prod(shape) :]
    if element.kind == "O":
        array = np.empty(len(values), dtype=object)
        array[:] = values
    elif element.kind in "iu":
        wide = np.array(values, dtype=np.uint64 if element.high > 2**63 - 1 else np.int64)
        array = wide.astype(element.numpy)
    else:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=np.float64 if element.kind == "f" else element.numpy).astype(element.numpy)
    try:
        return array.reshape(shape)
    except ValueError:
        raise invalid(f"a tensor of {len(shape)} dimensions is not supported") from None


def _fill(value: Any, level: int, shape: list[int], dtype: str, values: list[Any]) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise invalid(
                f"JSON Value: {jsontext.show(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
            )
        values.append(_leaf(value, dtype))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}")
    for item in value:
        _fill(item, level + 1, shape, dtype, values)


def _leaf(value: Any, dtype: str) -> Any:
    element = json_type(dtype)
    if element is None:
        if isinstance(value, dict):
            raise _type_error(value, dtype)
        raise unimplemented(f"Conversion of JSON Value: {jsontext.show(value)} to type: {tf_name(dtype)}")
    kind = element.kind
    if kind == "O":
        if is_base64_object(value):
            return decode_base64(value["b64"])
        if isinstance(value, str):
            return encode(value)
        if isinstance(value, dict):
            raise jsontext.format_error(value, "not formatted correctly for base64 data")
    elif isinstance(value, bool):
        if kind == "b":
            return value
    elif kind == "f" and isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            raise invalid("JSON Parse error: Number too big to be stored in double.") from None
    elif kind in "iu" and isinstance(value, int) and element.low <= value <= element.high:
        return value
    raise _type_error(value, dtype)


def _type_error(value: Any, dtype: str) -> RestError:
    return invalid(f"JSON Value: {jsontext.show(value)} Type: {jsontext.type_name(value)} is not of expected type: {tf_name(dtype)}")


def is_base64_object(value: Any) -> bool:
    """Whether value is `{"b64": string}` and nothing more."""
    return type(value) is dict and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(text: str) -> bytes:
    """White space is skipped, padding may be missing. Raises RestError (400)."""
    compact = "".join(text.split())
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def encode(text: str) -> bytes:
    """A JSON string as the bytes that it was sent as. Raises RestError (400) for half a surrogate pair."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
