"""A real TFLite file, written field by field: y = softmax(x·Wᵀ + b), 4 numbers in, 3 classes out, batches of any size.

Nothing here imports TensorFlow, so that the agent's tests take what a device has.
"""

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SIGNATURE = "serving_default"
INPUT, OUTPUT = "x", "probabilities"
FEATURES, CLASSES = 4, 3
WEIGHTS = np.array([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]], np.float32)


def tflite(weights: np.ndarray = WEIGHTS, signature: str = SIGNATURE) -> bytes:
    """The file's content. weights: [CLASSES, FEATURES]."""
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [_operator(schema.BuiltinOperator.FULLY_CONNECTED), _operator(schema.BuiltinOperator.SOFTMAX)]
    # Buffer 0 is empty by convention.
    model.buffers = [_buffer(b""), _buffer(np.ascontiguousarray(weights, np.float32).tobytes()), _buffer(bytes(4 * CLASSES))]
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [
        _tensor("x", (1, FEATURES), 0, (-1, FEATURES)),
        _tensor("weights", (CLASSES, FEATURES), 1),
        _tensor("bias", (CLASSES,), 2),
        _tensor("logits", (1, CLASSES), 0, (-1, CLASSES)),
        _tensor("y", (1, CLASSES), 0, (-1, CLASSES)),
    ]
    graph.inputs, graph.outputs = [0], [4]
    dense, softmax = schema.FullyConnectedOptionsT(), schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph.operators = [
        _apply(0, [0, 1, 2], [3], schema.BuiltinOptions.FullyConnectedOptions, dense),
        _apply(1, [3], [4], schema.BuiltinOptions.SoftmaxOptions, softmax),
    ]
    model.subgraphs = [graph]
    definition = schema.SignatureDefT()
    definition.signatureKey = signature
    definition.inputs, definition.outputs = [_named(INPUT, 0)], [_named(OUTPUT, 4)]
    model.signatureDefs = [definition]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answer(rows: Sequence[Sequence[float]], weights: np.ndarray = WEIGHTS) -> np.ndarray:
    """What the model must answer, by numpy."""
    logits = np.asarray(rows, np.float64) @ weights.T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _operator(code: int) -> schema.OperatorCodeT:
    operator = schema.OperatorCodeT()
    operator.builtinCode = operator.deprecatedBuiltinCode = code
    operator.version = 1
    return operator


def _buffer(data: bytes) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer


def _tensor(name: str, shape: tuple[int, ...], buffer: int, shape_signature: tuple[int, ...] | None = None) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, list(shape), buffer, schema.TensorType.FLOAT32
    tensor.shapeSignature = None if shape_signature is None else list(shape_signature)
    return tensor


def _apply(operator: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> schema.OperatorT:
    applied = schema.OperatorT()
    applied.opcodeIndex, applied.inputs, applied.outputs = operator, inputs, outputs
    applied.builtinOptionsType, applied.builtinOptions = kind, options
    return applied


def _named(name: str, index: int) -> schema.TensorMapT:
    named = schema.TensorMapT()
    named.name, named.tensorIndex = name, index
    return named
