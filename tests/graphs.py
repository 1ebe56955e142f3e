"""Sound .tflite files of several float32 operators over [1, width] tensors, which the interpreter runs; written without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_OPTIONS = {"ADD": "AddOptions", "MUL": "MulOptions"}


@dataclass(frozen=True)
class Node:
    """One operator. inputs, output: tensors, by name."""

    operator: str
    inputs: tuple[str, ...]
    output: str


def _new(kind: str, **fields: Any) -> Any:
    made = getattr(schema, kind + "T")()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def graph_file(
    nodes: Sequence[Node],
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str],
    constants: dict[str, NDArray[np.float32]] | None = None,
    width: int = 4,
    shapes: dict[str, tuple[int, ...]] | None = None,
    variables: Sequence[str] = (),
    types: dict[str, int] | None = None,
) -> bytes:
    """The file. A tensor's name is that of its signature, too. shapes, types: of tensors that are not [1, width] of float32."""
    known = constants or {}
    names = list(dict.fromkeys([*inputs, *known, *(name for node in nodes for name in (*node.inputs, node.output))]))
    buffers, tensors = [_new("Buffer")], []
    for name in names:
        buffer = 0
        if name in known:
            buffers.append(_new("Buffer", data=np.frombuffer(known[name].tobytes(), np.uint8)))
            buffer = len(buffers) - 1
        shape = (shapes or {}).get(name, known[name].shape if name in known else (1, width))
        kind = (types or {}).get(name, schema.TensorType.FLOAT32)
        tensors.append(_new("Tensor", name=name, shape=list(shape), type=kind, buffer=buffer, isVariable=name in variables))
    kinds = list(dict.fromkeys(node.operator for node in nodes))
    operators = []
    for node in nodes:
        options = _OPTIONS.get(node.operator)
        made = _new("Operator", opcodeIndex=kinds.index(node.operator), inputs=list(map(names.index, node.inputs)))
        made.outputs = [names.index(node.output)]
        if options:
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, options), _new(options)
        operators.append(made)
    codes = [getattr(schema.BuiltinOperator, kind) for kind in kinds]
    maps = [[_new("TensorMap", name=name, tensorIndex=names.index(name)) for name in side] for side in (inputs, outputs)]
    sides = {"inputs": list(map(names.index, inputs)), "outputs": list(map(names.index, outputs))}
    model = _new(
        "Model",
        version=3,
        operatorCodes=[_new("OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1) for code in codes],
        subgraphs=[_new("SubGraph", tensors=tensors, operators=operators, name="main", **sides)],
        buffers=buffers,
        signatureDefs=[_new("SignatureDef", signatureKey="serving_default", subgraphIndex=0, inputs=maps[0], outputs=maps[1])],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
