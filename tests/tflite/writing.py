"""Sound .tflite files of constants alone: what a reader of tensors needs, and no interpreter would run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT32, INT32, INT16, INT8, INT4 = (getattr(schema.TensorType, name) for name in ("FLOAT32", "INT32", "INT16", "INT8", "INT4"))


@dataclass
class Tensor:
    """content: as it lies in the file. scales: one a row of the first dimension, or none."""

    type: int
    shape: tuple[int, ...]
    content: bytes
    scales: Sequence[float] = field(default_factory=tuple)
    name: str | None = None


def tflite(tensors: Sequence[Tensor]) -> bytes:
    """The file. Its graph gives all of them as outputs."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = []
    for tensor in tensors:
        buffer, written = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(tensor.content, np.uint8)
        model.buffers.append(buffer)
        written.type, written.shape, written.name = tensor.type, list(tensor.shape), tensor.name
        written.buffer = len(model.buffers) - 1
        if len(tensor.scales):
            written.quantization = schema.QuantizationParametersT()
            written.quantization.scale = np.asarray(tensor.scales, np.float32)
            written.quantization.zeroPoint = np.zeros(len(tensor.scales), np.int64)
            written.quantization.quantizedDimension = 0
        graph.tensors.append(written)
    graph.inputs, graph.outputs = [], list(range(len(tensors)))
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
