"""A .tflite file as objects and back, and what the other modules ask of its tensors."""

import re
import struct
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from isthmus.errors import Problem, SourceError
from isthmus.tflite.verify import verify

Model = Any  # schema.ModelT and friends are generated, without types
Tensor = Any

INT4, INT8, INT32, INT64, FLOAT16, FLOAT32 = (
    getattr(schema.TensorType, name) for name in ("INT4", "INT8", "INT32", "INT64", "FLOAT16", "FLOAT32")
)
BITS = {INT4: 4, INT8: 8}
LEVELS = {4: 7, 8: 127}
"""The largest code. −8 and −128 are left out: the optimised int4 kernel without XNNPACK reads −8 as +8, and symmetric codes are
what the kernels' specification asks of weights."""
OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
SHARED_BYTES = 1 << 12
ORIGIN = re.compile(rb"(\d+)/(\d+)(?!\d)")


def read(model: bytes, where: str) -> Model:
    """The objects of a file. Operators that carry only the deprecated code get it copied to where it is looked for today.

    Raises:
        SourceError: the file is damaged.
    """
    try:
        verify(model)
        read_model = flatbuffer_utils.read_model_from_bytearray(model)
    except (ValueError, TypeError, IndexError, AttributeError, struct.error, MemoryError) as error:
        reason = str(error).strip()[:200] or type(error).__name__
        raise SourceError(
            [Problem(where, f"the .tflite file cannot be read: {reason}", "a whole flatbuffer", "export it again")]
        ) from error
    for code in read_model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return read_model


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal small vectors (shapes, zero points) once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 - the library's name
        if x.nbytes > SHARED_BYTES:
            return int(super().CreateNumpyVector(x))
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]


def write(model: Model) -> bytes:
    """The file of these objects: the same bytes for the same objects."""
    for graph in model.subgraphs:
        for thing, name, kind in [
            *((tensor, name, np.int32) for tensor in graph.tensors for name in ("shape", "shapeSignature")),
            *((tensor.quantization, "scale", np.float32) for tensor in graph.tensors if tensor.quantization),
            *((tensor.quantization, "zeroPoint", np.int64) for tensor in graph.tensors if tensor.quantization),
            *((operator, name, np.int32) for operator in graph.operators for name in ("inputs", "outputs")),
        ]:
            value = getattr(thing, name)
            setattr(thing, name, None if value is None else np.asarray(value, kind))
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    builder = _Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operator_name(model: Model, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    return str(OPERATORS.get(code, f"operator {code}"))


def constant(model: Model, tensor: Tensor) -> bool:
    return model.buffers[tensor.buffer].data is not None and tensor.shape is not None


def floats(model: Model, tensor: Tensor) -> NDArray[np.float32]:
    """A constant float32 tensor."""
    return np.frombuffer(model.buffers[tensor.buffer].data, "<f4").reshape(tensor.shape)


def drop_unused_codes(model: Model) -> None:
    """Leaves out, in place, the codes of operators that no graph has."""
    used = sorted({operator.opcodeIndex for graph in model.subgraphs for operator in graph.operators})
    model.operatorCodes = [model.operatorCodes[old] for old in used]
    for graph in model.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)


def scale_axis(tensor: Tensor) -> int | None:
    """The dimension along which a quantised tensor's scales go; None if it has one for all."""
    return int(tensor.quantization.quantizedDimension) if len(tensor.quantization.scale) > 1 else None


def by_channel(weights: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """[channels, n], one row for each scale."""
    return weights.reshape(1, -1) if axis is None else np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def from_channels(rows: NDArray[Any], shape: tuple[int, ...], axis: int | None) -> NDArray[Any]:
    """The inverse of `by_channel`."""
    if axis is None:
        return rows.reshape(shape)
    rest = tuple(size for index, size in enumerate(shape) if index != axis)
    return np.moveaxis(rows.reshape(shape[axis], *rest), 0, axis)


def packed(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Codes as a buffer holds them: at 4 bits two in a byte, the first in the low half."""
    flat = codes.ravel().view(np.uint8)
    if bits == 8:
        return flat
    halves = np.append(flat, np.zeros(flat.size % 2, np.uint8)) & np.uint8(0xF)
    return np.asarray(halves[0::2] | halves[1::2] << 4, np.uint8)


def codes(model: Model, tensor: Tensor) -> NDArray[np.int8]:
    """The inverse of `packed`, in the tensor's shape."""
    data = np.frombuffer(model.buffers[tensor.buffer].data, np.uint8)
    if BITS[tensor.type] == 8:
        return data.view(np.int8).reshape(tensor.shape)
    both = np.stack([data << 4, data], axis=1).view(np.int8) >> 4
    return both.ravel()[: int(np.prod(tensor.shape))].reshape(tensor.shape)
