"""A half of a `.tflite` file as a signature of a SavedModel: from a request's features, as they were sent, to the outputs.

TensorFlow Serving and the project's own server run it beside the whole model, of the same version, with nothing that they do not have.
What has eight bits in the file is restored (Jacob et al., arXiv 1712.05877), computed with as floats, and rounded to the file's codes
again wherever the file has codes: answers are those of the half in the interpreter but for the last bits of sums, and for one code where
these decide. Constants that several halves have stand in the graph once, in the file's own type.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.halves.operators import OPERATIONS, Operation
from isthmus.compile.quantise.flatbuffer import BITS, codes, operator_name
from isthmus.partition.cuts import TYPES
from isthmus_agent.features import WireFormat

FEATURES: Final = "features"
"""The one input of such a signature: for each request one string, as `wire` writes it."""
_CODES: Final[Mapping[str, tuple[int, int]]] = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_METHOD: Final = "tensorflow/serving/predict"


def missing_operators(model: Any) -> tuple[str, ...]:
    """Of the first graph of a file's objects: the operators that have no translation."""
    return tuple(sorted({operator_name(model, it) for it in model.subgraphs[0].operators} - OPERATIONS.keys()))


class Tails:
    """A graph of tails in the making. tf: TensorFlow, which only a worker has.

    graph: what was made so far. signatures: by name, as a SavedModel has them.
    """

    def __init__(self, tf: Any) -> None:
        self._tf = tf
        self.graph = tf.Graph()
        self._constants: dict[tuple[Any, ...], Any] = {}
        self.signatures: dict[str, Any] = {}

    def add(self, name: str, model: Any, wire: WireFormat) -> None:
        """A tail as a signature of that name. model: objects of its file, all of whose operators have a translation."""
        from tensorflow.core.protobuf import meta_graph_pb2

        tf = self._tf
        with self.graph.as_default(), tf.name_scope(name):
            features = tf.compat.v1.placeholder(tf.string, [None], name=FEATURES)
            definition, graph = next(it for it in model.signatureDefs if it.signatureKey == SIGNATURE.encode()), model.subgraphs[0]
            arrived = self._decoded(features, wire)
            values = {int(it.tensorIndex): arrived[it.name.decode()] for it in definition.inputs}
            for operator in graph.operators:
                self._run(model, graph, operator, values)
            made = meta_graph_pb2.SignatureDef(method_name=_METHOD)
            made.inputs[FEATURES].CopyFrom(tf.compat.v1.saved_model.build_tensor_info(features))
            for it in definition.outputs:
                output = tf.identity(values[int(it.tensorIndex)], name=f"output_{int(it.tensorIndex)}")
                made.outputs[it.name.decode()].CopyFrom(tf.compat.v1.saved_model.build_tensor_info(output))
            self.signatures[name] = made

    def added_to(self, content: bytes) -> bytes:
        """A saved_model.pb with all these signatures besides its own."""
        from tensorflow.core.protobuf import saved_model_pb2

        saved = saved_model_pb2.SavedModel.FromString(content)
        for meta_graph in saved.meta_graphs:
            meta_graph.graph_def.node.extend(self.graph.as_graph_def().node)
            for name, made in self.signatures.items():
                meta_graph.signature_def[name].CopyFrom(made)
        return bytes(saved.SerializeToString(deterministic=True))

    def _decoded(self, features: Any, wire: WireFormat) -> dict[str, Any]:
        """By name, what `WireFormat.decode` gives, for any number of requests. Another number of bytes is an invalid argument."""
        tf = self._tf
        if wire.deflate:
            # What is inflated is at most some thousand times as long (RFC 1951): so what is deflated is bounded by what it should become.
            most = tf.compat.v1.assert_less_equal(tf.strings.length(features), wire.plain_bytes + wire.plain_bytes // 100 + 64)
            with tf.control_dependencies([most]):
                features = tf.io.decode_compressed(features, "ZLIB")
        raw = tf.io.decode_raw(features, tf.uint8)
        sized = tf.compat.v1.assert_equal(tf.shape(raw)[1], wire.plain_bytes, message="features of another length")
        with tf.control_dependencies([sized]):
            raw = tf.identity(raw)
        raw.set_shape([None, wire.plain_bytes])
        found, start = {}, 0
        for it in wire.tensors:
            part, size = raw[:, start : start + it.sent_bytes], it.sent_dtype.itemsize
            start += it.sent_bytes
            if it.dtype == "bool":
                part = tf.cast(part, tf.bool)
            elif not it.affine and it.dtype != "uint8":
                part = tf.bitcast(part if size == 1 else tf.reshape(part, [-1, it.sent_bytes // size, size]), it.dtype)
            part = tf.reshape(part, [-1, *it.shape[1:]])
            if it.affine:
                part = (tf.cast(part, tf.float32) - np.float32(it.affine.zero)) * np.float32(it.affine.scale)
            found[it.name] = part
        return found

    def _run(self, model: Any, graph: Any, operator: Any, values: dict[int, Any]) -> None:
        """Adds what an operator makes to values, which are as the file has them."""
        inputs = [None if int(it) < 0 else self._real(model, graph.tensors[it], values.get(int(it))) for it in operator.inputs]
        tensor = graph.tensors[operator.outputs[0]]
        shape = tuple(int(it) for it in (tensor.shape if tensor.shape is not None else ()))
        made = OPERATIONS[operator_name(model, operator)](Operation(self._tf, operator.builtinOptions, inputs, shape))
        values[int(operator.outputs[0])] = self._as_in_file(tensor, made)

    def _real(self, model: Any, tensor: Any, value: Any) -> Any:
        """A tensor's real values. value: as the file has them; None for a constant."""
        if value is None:
            value = self._constant(model, tensor)
        tf, scales = self._tf, _scales(tensor)
        if scales is None:
            return tf.cast(value, tf.float32) if value.dtype == tf.float16 else value
        scale, zero = scales
        return (tf.cast(value, tf.float32) - self._kept(zero)) * self._kept(scale)

    def _as_in_file(self, tensor: Any, made: Any) -> Any:
        """Real values in the type that the file has for them, rounded where it has codes."""
        tf, scales, dtype = self._tf, _scales(tensor), TYPES[tensor.type]
        if scales is not None and dtype in _CODES:
            scale, zero = scales
            made = tf.clip_by_value(tf.round(made / self._kept(scale)) + self._kept(zero), *map(float, _CODES[dtype]))
        return tf.cast(made, dtype)

    def _constant(self, model: Any, tensor: Any) -> Any:
        shape = tuple(int(it) for it in (tensor.shape if tensor.shape is not None else ()))
        if tensor.type in BITS:
            return self._kept(codes(model, tensor))
        data = model.buffers[tensor.buffer].data
        dtype = np.dtype(TYPES[tensor.type]).newbyteorder("<")
        return self._kept(np.frombuffer(b"" if data is None else bytes(data), dtype, math.prod(shape)).reshape(shape))

    def _kept(self, values: np.ndarray[Any, Any]) -> Any:
        """The constant, made once for the same values."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            with self._tf.name_scope("tails/"):
                self._constants[key] = self._tf.constant(values)
        return self._constants[key]


def _scales(tensor: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Scale and zero point, each in a shape that goes with the values; None for what is not quantised."""
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale) or TYPES.get(tensor.type) in ("float32", "float16"):
        return None
    scale, zero = np.asarray(found.scale, np.float32), np.asarray(found.zeroPoint if found.zeroPoint is not None else 0, np.float32)
    zero = np.broadcast_to(zero, scale.shape)
    if len(scale) == 1:
        return scale[0].reshape(()), np.asarray(zero[0]).reshape(())
    shape = [1] * len(tensor.shape)
    shape[int(found.quantizedDimension)] = len(scale)
    return scale.reshape(shape), np.ascontiguousarray(zero).reshape(shape)
