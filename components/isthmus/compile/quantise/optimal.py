"""Scales and codes of a quantised file, replaced by those with the least squared error; and what the written file then holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.quantise.flatbuffer import (
    BITS,
    FLOAT32,
    INT32,
    INT64,
    LEVELS,
    ORIGIN,
    Model,
    Tensor,
    by_channel,
    codes,
    constant,
    floats,
    from_channels,
    operator_name,
    packed,
    scale_axis,
)
from isthmus.compile.quantise.scales import best_scales, min_max_scales
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import Layer

WEIGHT_OPERANDS: dict[str, tuple[int, ...]] = {
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "TRANSPOSE_CONV": (1,),
    "FULLY_CONNECTED": (1,),
    "EMBEDDING_LOOKUP": (1,),
    "BATCH_MATMUL": (0, 1),
    "DEQUANTIZE": (0,),
}
"""Which operands are weights: their scale is free, where an activation's is tied to its neighbours'."""
BIAS_OPERAND = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
INPUT_OPERAND = {"TRANSPOSE_CONV": 2}
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # kernels refuse what is not a normal float
BLOCK_WEIGHTS = 1 << 20
LEAST_WEIGHTS = 256  # constants of fewer floats are biases, thresholds and the like


@dataclass(frozen=True)
class Weight:
    """A quantised tensor of the written file, and the floats that it stands for.

    graph: the number of its graph. values: of the plain model's tensor, called `name` in the model as it came.
    """

    graph: int
    tensor: Tensor
    name: str
    values: NDArray[np.float32]


def weights(model: Model, plain: Model, names: list[list[str]]) -> list[Weight]:
    """All quantised weight tensors, each once. model: made from `plain` by a quantiser, whose names are still those of `prepare`.
    names: what `prepare` returned."""
    found: dict[int, Weight] = {}
    for number, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            for operand in WEIGHT_OPERANDS.get(operator_name(model, operator), ()):
                tensor = graph.tensors[operator.inputs[operand]]
                if id(tensor) in found or tensor.type not in BITS or not constant(model, tensor) or any(tensor.quantization.zeroPoint):
                    continue
                source = _origin(tensor, plain)
                if source is not None and source.type == FLOAT32 and constant(plain, source):
                    found[id(tensor)] = Weight(number, tensor, _name(tensor, names), floats(plain, source))
    return list(found.values())


def _place(tensor: Tensor) -> tuple[int, int] | None:
    match = ORIGIN.match(tensor.name or b"")
    return (int(match[1]), int(match[2])) if match else None


def _origin(tensor: Tensor, plain: Model) -> Tensor | None:
    """The plain model's tensor from which a quantiser made this one."""
    place = _place(tensor)
    return plain.subgraphs[place[0]].tensors[place[1]] if place else None


def _name(tensor: Tensor, names: list[list[str]]) -> str:
    graph, index = _place(tensor) or (0, 0)
    return names[graph][index] or f"tensor {index}"


def check_finite(plain: Model, names: list[list[str]], where: str) -> None:
    """Raises SourceError if a weight is NaN or infinite: there is no scale for it."""
    bad = {
        names[number][index]
        for number, graph in enumerate(plain.subgraphs)
        for operator in graph.operators
        for operand in WEIGHT_OPERANDS.get(operator_name(plain, operator), ())
        if (tensor := graph.tensors[index := int(operator.inputs[operand])]).type == FLOAT32
        and constant(plain, tensor)
        and not np.isfinite(floats(plain, tensor)).all()
    }
    if bad:
        what = f"weights with NaN or infinite values: {', '.join(sorted(bad)[:3])}{' and others' if len(bad) > 3 else ''}"
        raise SourceError([Problem(where, what, "finite weights", "train again, with a smaller learning rate")])


def optimise(model: Model, plain: Model, found: list[Weight]) -> None:
    """Formula 1 for every one of these tensors, in place."""
    for weight in found:
        tensor = weight.tensor
        bits = BITS[tensor.type]
        axis = scale_axis(tensor)
        rows = by_channel(weight.values, axis)
        scales = np.maximum(best_scales(rows, LEVELS[bits]), SMALLEST_SCALE).astype(np.float32)
        tensor.quantization.scale = scales
        tensor.quantization.min = tensor.quantization.max = None
        best = np.empty(rows.shape, np.int8)
        for part in _blocks(rows):
            best[part] = _nearest(rows[part], scales[part], LEVELS[bits])
        model.buffers[tensor.buffer].data = packed(np.ascontiguousarray(from_channels(best, weight.values.shape, axis)), bits)
    _optimise_biases(model, plain)


def _optimise_biases(model: Model, plain: Model) -> None:
    """In static graphs a bias is an integer in units of the input's scale times the weights'."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = operator_name(model, operator)
            place = BIAS_OPERAND.get(name)
            if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
                continue
            bias, kernel = graph.tensors[operator.inputs[place]], graph.tensors[operator.inputs[1]]
            if bias.type not in (INT32, INT64) or not constant(model, bias) or (source := _origin(bias, plain)) is None:
                continue
            entering = graph.tensors[operator.inputs[INPUT_OPERAND.get(name, 0)]]
            scales = (np.float32(entering.quantization.scale[0]) * np.asarray(kernel.quantization.scale, np.float32)).astype(np.float32)
            kind = np.dtype("<i4" if bias.type == INT32 else "<i8")
            limits = np.iinfo(kind)
            values = np.clip(np.rint(floats(plain, source).astype(np.float64) / scales), limits.min, limits.max).astype(kind)
            bias.quantization.scale, bias.quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
            model.buffers[bias.buffer].data = values.view(np.uint8)


def _blocks(rows: NDArray[Any]) -> Iterator[slice]:
    """Of some channels each, so that large tensors need no large temporaries."""
    step = max(1, BLOCK_WEIGHTS // max(rows.shape[1], 1))
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _nearest(rows: NDArray[Any], scales: NDArray[np.floating], levels: int) -> NDArray[np.float64]:
    return np.clip(np.rint(rows / scales[:, None].astype(np.float64)), -levels, levels)


def squared_error(rows: NDArray[Any], scales: NDArray[np.floating], levels: int, held: NDArray[np.int8] | None = None) -> float:
    """Σ(w − s·code)² of [channels, n] weights. held: the codes; None for the nearest within ±levels."""
    total = 0.0
    for part in _blocks(rows):
        code = _nearest(rows[part], scales[part], levels) if held is None else held[part]
        total += float(np.square(rows[part] - scales[part, None].astype(np.float64) * code).sum())
    return total


def layer(model: Model, tensor: Tensor, name: str, values: NDArray[np.float32]) -> Layer:
    """What a tensor of a written file holds against the floats that it stands for."""
    bits, axis = BITS[tensor.type], scale_axis(tensor)
    rows, levels = by_channel(values, axis), LEVELS[bits]
    error = squared_error(rows, np.asarray(tensor.quantization.scale), levels, by_channel(codes(model, tensor), axis))
    covering = np.maximum(min_max_scales(rows, levels), SMALLEST_SCALE)
    return Layer(name, tuple(int(size) for size in values.shape), bits, error, squared_error(rows, covering, levels))


def unquantised(model: Model, plain: Model) -> tuple[int, int, list[str]]:
    """Bytes of float32 weights in `plain`, how many of them are still there as float32, and in whose hands ("GATHER of 4000").

    model: with the names of `prepare`.
    """
    total = sum(_weight_bytes(plain, tensor) for graph in plain.subgraphs for tensor in graph.tensors)
    left: dict[int, str] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            for index in operator.inputs:
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor is not None and tensor.buffer not in left and _weight_bytes(model, tensor):
                    left[tensor.buffer] = f"{operator_name(model, operator)} of {_weight_bytes(model, tensor) // 4}"
    sizes = {buffer: len(model.buffers[buffer].data) for buffer in left}
    return total, sum(sizes.values()), [left[buffer] for buffer in sorted(left, key=lambda buffer: -sizes[buffer])]


def _weight_bytes(model: Model, tensor: Tensor) -> int:
    if tensor.type != FLOAT32 or not constant(model, tensor):
        return 0
    size = len(model.buffers[tensor.buffer].data)
    return size if size >= 4 * LEAST_WEIGHTS else 0
