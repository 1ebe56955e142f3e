"""Where a .tflite file keeps its numbers: the constants of its graphs, and the scales that they are quantised with."""

from collections.abc import Iterator
from dataclasses import dataclass

from isthmus.tflite.schema import TYPE_BITS
from isthmus.tflite.verify import Reader, Table, Vector, verify

FLOAT32 = 0


@dataclass(frozen=True)
class Constant:
    """Numbers that lie in the file in one piece.

    name, shape: of the tensor; quantised files have names for inputs and outputs alone. part: `data`, or `scale`. bits: of an element.
    start, size_bytes: where it lies.
    """

    name: str
    part: str
    type: int
    shape: tuple[int, ...]
    bits: int
    start: int
    size_bytes: int


def constants(data: bytes | memoryview) -> tuple[Constant, ...]:
    """The constants in a file, in the order of its tensors, each place once. Raises DamagedFileError."""
    verify(data)
    reader = Reader(data)
    model = reader.root()
    buffers = model["buffers"] or []
    found: dict[int, Constant] = {}
    for graph in model["subgraphs"]:
        for tensor in graph["tensors"] or []:
            for constant in _of_tensor(reader, tensor, buffers):
                found.setdefault(constant.start, constant)
    return tuple(found.values())


def _of_tensor(reader: Reader, tensor: Table, buffers: list[Table]) -> Iterator[Constant]:
    name, shape, kind = tensor["name"] or "", reader.numbers(tensor["shape"]), tensor["type"]
    buffer: Table | None = buffers[tensor["buffer"]] if buffers else None
    if buffer is not None and kind in TYPE_BITS:
        data: Vector | None = buffer["data"]
        if buffer["offset"] > 1:
            yield Constant(name, "data", kind, shape, TYPE_BITS[kind], buffer["offset"], buffer["size"])
        elif data is not None and data.length:
            yield Constant(name, "data", kind, shape, TYPE_BITS[kind], data.start, data.length)
    scale: Vector | None = tensor["quantization"]["scale"] if tensor["quantization"] else None
    if scale is not None and scale.length:
        yield Constant(name, "scale", FLOAT32, (scale.length,), 32, scale.start, 4 * scale.length)
