"""What a device does not need is left out of the file, and what the quantiser could not see is made visible to it.

On digits this is 3 KB, without which int4 would miss a factor of seven: names of tensors, notes on the conversion, and the
arithmetic by which a Flatten layer finds out the batch's size.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from isthmus.compile.quantise.flatbuffer import FLOAT16, FLOAT32, INT32, Model, Tensor, constant, drop_unused_codes, operator_name

RESHAPING = {"SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"}


def prepare(model: Model) -> list[list[str]]:
    """Before quantising, in place: `Flatten` and embeddings in simpler words, and each tensor named by its place, as
    quantisers find tensors by name and name what they add after them. Returns the names they had, by graph and index."""
    for graph in model.subgraphs:
        for operator in list(graph.operators):
            _widened(model, graph, operator)
            _constant_reshape(model, graph, operator)
            _without_reshape(model, graph, operator)
        graph.operators = [new for operator in graph.operators for new in _lookup(model, graph, operator)]
        _drop_unused_operators(model, graph)
    _drop_unused_tensors(model)
    names = [[(tensor.name or b"").decode(errors="replace") for tensor in graph.tensors] for graph in model.subgraphs]
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            tensor.name = b"%d/%d" % (number, index)
    return names


def finish(model: Model, original: Model) -> None:
    """After quantising, in place: inputs and outputs get their names back, all others lose theirs; what is unused goes."""
    for graph, before in zip(model.subgraphs, original.subgraphs, strict=False):
        names = {new: before.tensors[old].name for side in ("inputs", "outputs") for new, old in _pairs(graph, before, side)}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = names.get(index)
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            if index not in names:
                tensor.shapeSignature = None  # operators find out the shapes of what they make
    model.metadata = model.metadataBuffer = model.description = None
    _drop_unused_tensors(model)
    _drop_unused_buffers(model)


def _pairs(graph: Any, before: Any, side: str) -> Iterator[tuple[int, int]]:
    return zip((int(i) for i in getattr(graph, side)), (int(i) for i in getattr(before, side)), strict=True)


def _add_constant(model: Model, graph: Any, values: list[int]) -> int:
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
    tensor.shape, tensor.type, tensor.buffer, tensor.hasRank = [len(values)], INT32, len(model.buffers), True
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _ints(model: Model, tensor: Tensor) -> list[int] | None:
    if tensor.type != INT32 or not constant(model, tensor):
        return None
    return [int(value) for value in np.frombuffer(model.buffers[tensor.buffer].data, "<i4")]


def _producer(model: Model, graph: Any, index: int, name: str) -> Any | None:
    made = next((operator for operator in graph.operators if index in list(operator.outputs)), None)
    return made if made is not None and operator_name(model, made) == name else None


def _widened(model: Model, graph: Any, operator: Any) -> None:
    """DEQUANTIZE(float16 constant), the way in which files store float16, → a float32 constant."""
    if operator_name(model, operator) != "DEQUANTIZE":
        return
    source, result = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if source.type != FLOAT16 or not constant(model, source):
        return
    buffer = schema.BufferT()
    halves = np.frombuffer(model.buffers[source.buffer].data, "<f2")
    buffer.data = np.frombuffer(halves.astype("<f4").tobytes(), np.uint8)
    result.buffer = len(model.buffers)
    model.buffers.append(buffer)
    graph.operators = [other for other in graph.operators if other is not operator]


def _constant_reshape(model: Model, graph: Any, operator: Any) -> None:
    """RESHAPE(x, PACK(SHAPE(x)[0], constants…)) → RESHAPE(x, [-1, constants…])."""
    if operator_name(model, operator) != "RESHAPE" or len(operator.inputs) < 2:
        return
    pack = _producer(model, graph, operator.inputs[1], "PACK")
    cut = _producer(model, graph, pack.inputs[0], "STRIDED_SLICE") if pack else None
    shape = _producer(model, graph, cut.inputs[0], "SHAPE") if cut else None
    if pack is None or cut is None or shape is None or shape.inputs[0] != operator.inputs[0]:
        return
    bounds = [_ints(model, graph.tensors[index]) for index in cut.inputs[1:]]
    rest = [_ints(model, graph.tensors[index]) for index in pack.inputs[1:]]
    sizes = [values[0] for values in rest if values and len(values) == 1 and values[0] > 0]
    if bounds != [[0], [1], [1]] or len(sizes) != len(rest):
        return
    operator.inputs = [operator.inputs[0], _add_constant(model, graph, [-1, *sizes])]
    operator.builtinOptions = None  # it may repeat an older shape
    operator.builtinOptionsType = 0


def _without_reshape(model: Model, graph: Any, operator: Any) -> None:
    """FULLY_CONNECTED(RESHAPE(x, [-1, n])) → FULLY_CONNECTED(x): the kernels take any shape whose size is a multiple of n."""
    if operator_name(model, operator) != "FULLY_CONNECTED" or (operator.builtinOptions and operator.builtinOptions.keepNumDims):
        return
    reshape = _producer(model, graph, operator.inputs[0], "RESHAPE")
    n = int(graph.tensors[operator.inputs[1]].shape[1])
    if reshape and len(reshape.inputs) > 1 and _ints(model, graph.tensors[reshape.inputs[1]]) == [-1, n]:
        operator.inputs = [reshape.inputs[0], *operator.inputs[1:]]


def _lookup(model: Model, graph: Any, operator: Any) -> list[Any]:
    """GATHER of a table's rows, which is what an embedding becomes and no recipe covers, → EMBEDDING_LOOKUP, which has one
    scale a row. Its indices must be one-dimensional."""
    if operator_name(model, operator) != "GATHER":
        return [operator]
    table, indices, result = (graph.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
    options = operator.builtinOptions
    fits = table.type == FLOAT32 and constant(model, table) and len(table.shape) == 2 and indices.type == INT32
    if not fits or (options is not None and (options.axis or options.batchDims)) or not len(indices.shape):
        return [operator]
    sizes = list(indices.shape if indices.shapeSignature is None else indices.shapeSignature)
    if any(size < 1 for size in sizes[1:]):
        return [operator]
    lookup = schema.OperatorT()
    lookup.opcodeIndex = _code(model, "EMBEDDING_LOOKUP")
    if len(sizes) == 1:
        lookup.inputs, lookup.outputs = [operator.inputs[1], operator.inputs[0]], operator.outputs
        return [lookup]
    flat, rows = (_add_like(graph, like, shape) for like, shape in ((indices, [1]), (result, [1, table.shape[1]])))
    lookup.inputs, lookup.outputs = [flat, operator.inputs[0]], [rows]
    before, after = schema.OperatorT(), schema.OperatorT()
    before.opcodeIndex = after.opcodeIndex = _code(model, "RESHAPE")
    before.inputs, before.outputs = [operator.inputs[1], _add_constant(model, graph, [-1])], [flat]
    after.inputs = [rows, _add_constant(model, graph, [-1, *(int(size) for size in sizes[1:]), int(table.shape[1])])]
    after.outputs = operator.outputs
    return [before, lookup, after]


def _add_like(graph: Any, like: Tensor, shape: list[int]) -> int:
    tensor = schema.TensorT()
    tensor.type, tensor.shape, tensor.hasRank, tensor.buffer = like.type, shape, True, 0
    tensor.shapeSignature = [-1, *shape[1:]]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _code(model: Model, name: str) -> int:
    """The index of an operator's code, added if need be."""
    wanted = getattr(schema.BuiltinOperator, name)
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, min(wanted, 127), 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _drop_unused_operators(model: Model, graph: Any) -> None:
    """The chain that found out a size, from its end."""
    while True:
        read = {int(index) for operator in graph.operators for index in operator.inputs} | {int(index) for index in graph.outputs}
        kept = [op for op in graph.operators if operator_name(model, op) not in RESHAPING or read & {int(i) for i in op.outputs}]
        if len(kept) == len(graph.operators):
            return
        graph.operators = kept


def _renumbered(indices: Any, new: dict[int, int]) -> list[int]:
    return [new.get(int(index), -1) for index in indices]


def _drop_unused_tensors(model: Model) -> None:
    for number, graph in enumerate(model.subgraphs):
        used = {int(i) for operator in graph.operators for i in (*operator.inputs, *operator.outputs, *(operator.intermediates or ()))}
        used |= {int(i) for i in (*graph.inputs, *graph.outputs)} - {-1}
        new = {old: index for index, old in enumerate(sorted(used - {-1}))}
        graph.tensors = [graph.tensors[old] for old in new]
        for operator in graph.operators:
            operator.inputs, operator.outputs = _renumbered(operator.inputs, new), _renumbered(operator.outputs, new)
            if operator.intermediates is not None:
                operator.intermediates = _renumbered(operator.intermediates, new)
        graph.inputs, graph.outputs = _renumbered(graph.inputs, new), _renumbered(graph.outputs, new)
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == number:
                for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                    entry.tensorIndex = new[int(entry.tensorIndex)]
    drop_unused_codes(model)


def _drop_unused_buffers(model: Model) -> None:
    holders = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    filled = sorted({holder.buffer for holder in holders if model.buffers[holder.buffer].data is not None})
    new = {old: index + 1 for index, old in enumerate(filled)}
    model.buffers = [schema.BufferT(), *(model.buffers[old] for old in filled)]
    for holder in holders:
        holder.buffer = new.get(holder.buffer, 0)  # buffer 0 is the empty one
