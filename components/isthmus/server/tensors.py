"""TensorProto messages into arrays and back, each type in its own field, as TensorFlow's C++ does it.

A message is believed only as far as it goes: what it says of its type is checked against the signature, and what it says
of its shape against the values that it holds, before anything of that size is made.
"""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from tensorflow.core.framework import types_pb2

from isthmus.server.errors import ServingError, invalid
from isthmus.server.limits import MAX_DIMENSIONS, MAX_REPEATED_ELEMENTS
from isthmus_agent.protocol import TensorInfo
from isthmus_agent.protocol.dtypes import STRING, dtype_name, enum_name, tf_name

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

_CHUNK = 16 * 1024  # values that are moved at once: between two chunks other threads may run
_MANY = 256  # values from which packing them at once is faster than handing them over
_FLOAT_VAL, _DOUBLE_VAL = b"\x2a", b"\x32"  # tag of a packed field
_VARINT_BITS = 7


@dataclass(frozen=True)
class _Form:
    """field: where the values are. stored: their type there. pairs: two numbers make one value."""

    field: str
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    pairs: bool = False


def _forms() -> dict[str, _Form]:
    forms = {STRING: _Form("string_val", np.dtype(object), np.dtype(object))}
    for name in ("int32", "int16", "int8", "uint8", "uint16"):
        forms[name] = _Form("int_val", np.dtype(name), np.dtype(np.int64))
    own = {
        "float32": "float_val",
        "float64": "double_val",
        "int64": "int64_val",
        "uint32": "uint32_val",
        "uint64": "uint64_val",
        "bool": "bool_val",
    }
    for name, field in own.items():
        forms[name] = _Form(field, np.dtype(name), np.dtype(name))
    for name, kind in (("float16", np.float16), ("DT_BFLOAT16", ml_dtypes.bfloat16)):
        forms[name] = _Form("half_val", np.dtype(kind), np.dtype(np.uint16))
    forms["DT_COMPLEX64"] = _Form("scomplex_val", np.dtype(np.complex64), np.dtype(np.float32), pairs=True)
    forms["DT_COMPLEX128"] = _Form("dcomplex_val", np.dtype(np.complex128), np.dtype(np.float64), pairs=True)
    return forms


_FORMS = _forms()
_NAMES_BY_DTYPE = {form.dtype: name for name, form in _FORMS.items()}
_ENUMS = {name: types_pb2.DataType.Value(enum_name(name)) for name in _FORMS}
_ENUM_NAMES = {number: name for name, number in types_pb2.DataType.items()}


def to_array(name: str, tensor: Any, info: TensorInfo) -> Array:
    """The message's values. Raises ServingError (INVALID_ARGUMENT).

    Args:
        name: the input's name, for error texts.
        tensor: a TensorProto.
        info: what the signature says of the input. Its shape is for the model to check: TensorFlow Serving takes any.
    """
    form = _FORMS.get(info.dtype)
    if form is None:
        raise invalid(f"tensor parsing error: {name}: {tf_name(info.dtype)} has no values that can be sent")
    if tensor.dtype != _ENUMS[info.dtype]:
        found = tf_name(dtype_name(_ENUM_NAMES.get(tensor.dtype, "DT_INVALID")))
        raise invalid(f"Expects {name} to be {tf_name(info.dtype)} but {found} is provided")
    dims = tensor.tensor_shape
    shape = tuple([dim.size for dim in dims.dim])
    if dims.unknown_rank or len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise invalid(f"tensor parsing error: {name}: no shape of a tensor")
    content = tensor.tensor_content
    values = getattr(tensor, form.field)
    if content:  # a string takes a byte at least, the one of its length
        held = len(content) // (1 if form.dtype == object else form.dtype.itemsize)
    else:
        held = len(values) // 2 if form.pairs else len(values)
    count = math.prod(shape)
    # A dimension of size zero does not make the others harmless: the model's answer may have them alone.
    if (count or math.prod([size for size in shape if size])) > max(held, MAX_REPEATED_ELEMENTS):
        raise invalid(f"tensor parsing error: {name}: shape {list(shape)} is larger than what the message holds")
    if content:
        flat = _strings(name, content, count) if form.dtype == object else _from_content(name, content, form.dtype, count)
    else:
        flat = _from_values(values, form, count)
    return flat.reshape(shape)


def _from_content(name: str, content: bytes, dtype: np.dtype[Any], count: int) -> Array:
    if len(content) != count * dtype.itemsize:
        raise invalid(f"tensor parsing error: {name}: {count} values of {dtype.itemsize} bytes do not make {len(content)} bytes")
    return np.frombuffer(content, dtype)


def _from_values(values: Any, form: _Form, count: int) -> Array:
    """count values; the last one again and again where there are fewer, zeros where there is none."""
    per_value = 2 if form.pairs else 1
    held = min(len(values) // per_value, count)
    if form.dtype == object:
        array: Array = np.empty(count, object)
        array[:held] = values[:held]
        array[held:] = values[held - 1] if held else b""
        return array
    if held <= _CHUNK:
        stored = np.array(values[: held * per_value], form.stored)
    else:
        stored = np.empty(held * per_value, form.stored)
        for start in range(0, len(stored), _CHUNK):
            stored[start : start + _CHUNK] = values[start : min(start + _CHUNK, len(stored))]
    array = stored.view(form.dtype) if form.field == "half_val" or form.pairs else stored.astype(form.dtype, copy=False)
    if held < count:
        array = np.concatenate([array, np.full(count - held, array[-1] if held else 0, form.dtype)])
    return array


def _strings(name: str, content: bytes, count: int) -> Array:
    """Strings in tensor_content: first all lengths, as varints, then all bytes."""
    position, lengths = 0, []
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 63:
                raise invalid(f"tensor parsing error: {name}: its strings are cut off")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += _VARINT_BITS
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise invalid(f"tensor parsing error: {name}: its strings do not fill it")
    array = np.empty(count, object)
    for index, length in enumerate(lengths):
        array[index] = content[position : position + length]
        position += length
    return array


def fill(tensor: Any, array: Array, *, as_content: bool = False) -> None:
    """Writes an array into a TensorProto. as_content: numbers as bytes in one piece.

    Raises:
        ServingError: UNIMPLEMENTED for a type that cannot be sent.
    """
    name = _NAMES_BY_DTYPE.get(array.dtype)
    if name is None:
        raise ServingError("UNIMPLEMENTED", f"outputs of type {array.dtype} cannot be sent")
    form = _FORMS[name]
    tensor.dtype = _ENUMS[name]
    dims = tensor.tensor_shape.dim
    for size in array.shape:
        dims.add().size = size
    if as_content and form.dtype != object:
        tensor.tensor_content = array.tobytes()
        return
    flat = array.ravel()
    if form.field in ("float_val", "double_val") and flat.size >= _MANY:
        data = flat.tobytes()
        tag = _FLOAT_VAL if form.field == "float_val" else _DOUBLE_VAL
        tensor.MergeFromString(tag + _varint(len(data)) + data)
        return
    values = getattr(tensor, form.field)
    if form.field == "half_val" or form.pairs:
        flat = flat.view(form.stored)
    for start in range(0, flat.size, _CHUNK):
        values.extend(flat[start : start + _CHUNK].tolist())


def _varint(number: int) -> bytes:
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= _VARINT_BITS
    return bytes([*groups, number])
