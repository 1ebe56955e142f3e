"""Whether a .tflite file is what it says it is, found without the interpreter, which trusts what it reads.

First the flatbuffer: every table, vector and text that the file points to lies inside it. Then the graph: every number that
names a tensor, buffer, operator or subgraph names one; a constant has as many bytes as its shape says; and no operator reads
what nothing has made. A kernel's own demands are not known here: the interpreter still belongs into a process of its own.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from isthmus.tflite.schema import OPEN_TYPES, SCHEMA, TEXT, TYPE_BITS, UNIONS, Kind

IDENTIFIER = b"TFL3"
VERSION = 3
# What a file may make a reader do: shared parts are cheap to write and dear to follow.
MAX_TABLES = 1_000_000
MAX_NUMBERS = 50_000_000
_INTEGERS = {1: "b", 4: "i", 8: "q"}
Table = dict[str, Any]


class DamagedFileError(ValueError):
    """The file is not a sound .tflite model; the text says where."""


@dataclass(frozen=True)
class Contents:
    """What a sound file holds.

    signatures: their keys, in order. old_codes: some operators carry only the deprecated code, which newer tools do not read.
    custom_operators: names of operators that are not TensorFlow Lite's own. subgraphs: how many.
    """

    signatures: tuple[str, ...]
    old_codes: bool
    custom_operators: tuple[str, ...]
    subgraphs: int


@dataclass(frozen=True)
class Vector:
    """Elements that lie in the file. start: of the first."""

    start: int
    length: int
    size: int


class Reader:
    """Reads tables, and raises DamagedFileError instead of reading past the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data, self.end = data, len(data)
        self._tables: dict[tuple[str, int], Table] = {}
        self._numbers = MAX_NUMBERS

    def number(self, form: str, position: int) -> int:
        try:
            value: int = struct.unpack_from("<" + form, self.data, position)[0]
        except struct.error:
            raise DamagedFileError(f"it points to byte {position} of {self.end}") from None
        return value

    def numbers(self, vector: Vector | None, form: str = "i") -> tuple[int, ...]:
        if vector is None:
            return ()
        self._numbers -= vector.length
        if self._numbers < 0:
            raise DamagedFileError(f"its operators and tensors name more than {MAX_NUMBERS} numbers")
        return struct.unpack_from(f"<{vector.length}{form}", self.data, vector.start)

    def root(self) -> Table:
        if self.end < 8 or bytes(self.data[4:8]) != IDENTIFIER:
            raise DamagedFileError("it does not start as a TensorFlow Lite model does (TFL3)")
        return self.table("Model", self.number("I", 0))

    def table(self, name: str, position: int) -> Table:
        known = self._tables.get((name, position))
        if known is not None:
            return known
        fields = self._fields(position, name)
        found: Table = {}
        self._tables[name, position] = found
        for field, (slot, kind) in SCHEMA[name].items():
            found[field] = self._value(fields, slot, kind, f"{name}.{field}")
        return found

    def _fields(self, position: int, name: str) -> tuple[int, int, tuple[int, ...]]:
        """Position and size of a table, and where its fields stand in it."""
        if len(self._tables) > MAX_TABLES:
            raise DamagedFileError(f"it has more than {MAX_TABLES} parts")
        layout = position - self.number("i", position)
        if layout < 0:
            raise DamagedFileError(f"the layout of a {name} lies before its start")
        layout_size, size = self.number("H", layout), self.number("H", layout + 2)
        if layout_size < 4 or layout_size % 2 or layout + layout_size > self.end or size < 4 or position + size > self.end:
            raise DamagedFileError(f"the layout of a {name} at byte {position} does not fit")
        places = struct.unpack_from(f"<{layout_size // 2 - 2}H", self.data, layout + 4)
        if any(place >= size for place in places):
            raise DamagedFileError(f"a {name} at byte {position} has a field outside of it")
        return position, size, places

    def _value(self, table: tuple[int, int, tuple[int, ...]], slot: int, kind: Kind, where: str) -> Any:
        position, size, places = table
        place = places[slot] if slot < len(places) else 0
        if not place:
            return 0 if isinstance(kind, int) else None
        if place + (kind if isinstance(kind, int) else 4) > size:
            raise DamagedFileError(f"{where} reaches out of its table")
        if isinstance(kind, int):
            return self.number(_INTEGERS[kind], position + place)
        target = position + place + self.number("I", position + place)
        if isinstance(kind, tuple):
            type_place = places[kind[1]] if kind[1] < len(places) else 0
            type_number = self.number("B", position + type_place) if type_place else 0
            return type_number and self._union(UNIONS[kind[2]].get(type_number, {}), target, where)
        if isinstance(kind, str) and kind != "text":
            return self.table(kind, target)
        return self._list(kind, target, where)

    def _union(self, kinds: dict[int, Kind], position: int, where: str) -> int:
        table = self._fields(position, where)
        for slot, kind in kinds.items():
            self._value(table, slot, kind, where)
        return position

    def _list(self, kind: str | list[int] | list[str], target: int, where: str) -> Any:
        length, start = self.number("I", target), target + 4
        element = kind[0] if isinstance(kind, list) else 1
        size = element if isinstance(element, int) else 4
        if start + length * size + (kind == "text") > self.end:
            raise DamagedFileError(f"{where} has {length} elements and the file ends before them")
        if kind == "text":
            try:
                return bytes(self.data[start : start + length]).decode()
            except UnicodeDecodeError:
                raise DamagedFileError(f"{where} is no text") from None
        if isinstance(element, int):
            return Vector(start, length, size)
        places = self.numbers(Vector(start, length, size), "I")
        return [self.table(element, start + 4 * index + place) for index, place in enumerate(places)]


def verify(data: bytes | memoryview) -> Contents:
    """What a .tflite file holds. Time grows with its tables, not with its weights. Raises DamagedFileError."""
    reader = Reader(data)
    model = reader.root()
    if model["version"] != VERSION:
        raise DamagedFileError(f"it is of version {model['version']}, not {VERSION}")
    buffers, codes, subgraphs = model["buffers"] or [], model["operator_codes"] or [], model["subgraphs"] or []
    if not subgraphs:
        raise DamagedFileError("it has no graph")
    if model["external_buffers"]:
        raise DamagedFileError("its weights lie in another file")
    for buffer in buffers:
        if buffer["offset"] > 1 or buffer["offset"] < 0:
            _range(buffer["offset"] + max(buffer["size"], 0), reader.end + 1, "a buffer's end")
        if buffer["size"] < 0:
            raise DamagedFileError("a buffer has a negative size")
    for number in (*reader.numbers(model["metadata_buffer"]), *(entry["buffer"] for entry in model["metadata"] or [])):
        _range(number, len(buffers), "metadata's buffer")
    for subgraph in {id(subgraph): subgraph for subgraph in subgraphs}.values():
        _check_graph(reader, subgraph, codes, buffers)
    signatures = model["signatures"] or []
    for signature in signatures:
        _range(signature["subgraph"], len(subgraphs), "a signature's graph")
        tensors = len(subgraphs[signature["subgraph"]]["tensors"] or [])
        for entry in (*(signature["inputs"] or []), *(signature["outputs"] or [])):
            _range(entry["tensor"], tensors, "a signature's tensor")
            if entry["name"] is None:
                raise DamagedFileError("a signature's tensor has no name")
    return Contents(
        tuple(signature["key"] or "" for signature in signatures),
        any(code["code"] == 0 and code["deprecated_code"] != 0 for code in codes),
        tuple(sorted({code["custom_code"] for code in codes if code["custom_code"]})),
        len(subgraphs),
    )


def _range(number: int, count: int, what: str, least: int = 0) -> None:
    if not least <= number < count:
        raise DamagedFileError(f"{what} is number {number} of {count}")


def _check_graph(reader: Reader, graph: Table, codes: list[Table], buffers: list[Table]) -> None:
    tensors, operators = graph["tensors"] or [], graph["operators"] or []
    made = set()
    for index, tensor in enumerate(tensors):
        _range(tensor["buffer"], max(len(buffers), 1), f"the buffer of tensor {index}")
        if _check_tensor(reader, tensor, index, buffers) or tensor["is_variable"]:
            made.add(index)
    constants = frozenset(made)
    inputs, outputs = reader.numbers(graph["inputs"]), reader.numbers(graph["outputs"])
    _check_tensors((*inputs, *outputs), len(tensors), "the graph")
    made.update(inputs)
    for index, operator in enumerate(operators):
        name = f"operator {index}"
        _range(operator["code_index"] & 0xFFFFFFFF, len(codes), f"the code of {name}")
        taken, given = reader.numbers(operator["inputs"]), reader.numbers(operator["outputs"])
        _check_tensors((*taken, *reader.numbers(operator["intermediates"])), len(tensors), name, least=-1)
        _check_tensors(given, len(tensors), name)
        if not made.issuperset(number for number in taken if number != -1):
            raise DamagedFileError(f"{name} reads a tensor that nothing has made before it")
        if constants.intersection(given):
            raise DamagedFileError(f"{name} writes into a constant")
        made.update(given)
    if not made.issuperset(outputs):
        raise DamagedFileError("nothing makes one of its outputs")


def _check_tensors(numbers: Iterable[int], count: int, what: str, least: int = 0) -> None:
    for number in numbers:
        _range(number, count, f"a tensor of {what}", least)


def _check_tensor(reader: Reader, tensor: Table, index: int, buffers: list[Table]) -> bool:
    """Whether the tensor is a constant."""
    kind: int = tensor["type"]
    shape = reader.numbers(tensor["shape"])
    if kind not in TYPE_BITS and kind not in OPEN_TYPES:
        raise DamagedFileError(f"tensor {index} has the unknown type {kind}")
    free = reader.numbers(tensor["shape_signature"])
    if any(size < 0 for size in shape) or any(size < -1 for size in free) or len(free) not in (0, len(shape)):
        raise DamagedFileError(f"tensor {index} has an impossible shape")
    _check_quantization(tensor["quantization"], shape, index)
    buffer: Table = buffers[tensor["buffer"]] if buffers else {"data": None, "offset": 0, "size": 0}
    data: Vector | None = buffer["data"]
    size_bytes: int = buffer["size"] if buffer["offset"] > 1 else data.length if data else 0
    if tensor["buffer"] == 0 or size_bytes == 0:
        return prod(shape) == 0
    if kind == TEXT and data:
        _check_texts(reader, data, index)
    wanted_bytes = -(-prod(shape) * TYPE_BITS.get(kind, 0) // 8)
    if kind in TYPE_BITS and tensor["sparsity"] is None and size_bytes != wanted_bytes:
        raise DamagedFileError(f"tensor {index} has {size_bytes} bytes and the shape of {wanted_bytes}")
    return True


def _check_texts(reader: Reader, data: Vector, index: int) -> None:
    """Texts are stored as their count, where each begins and the last ends, and their bytes."""
    count = reader.number("I", data.start) if data.length >= 4 else 0
    if data.length < 4 * (count + 2):
        raise DamagedFileError(f"tensor {index} has {count} texts in {data.length} bytes")
    places = reader.numbers(Vector(data.start + 4, count + 1, 4), "I")
    if any(place > data.length for place in places) or list(places) != sorted(places):
        raise DamagedFileError(f"tensor {index} has texts outside of it")


def _check_quantization(quantization: Table | None, shape: tuple[int, ...], index: int) -> None:
    if quantization is None or quantization["scale"] is None or quantization["scale"].length <= 1:
        return
    _range(quantization["quantized_dimension"], len(shape), f"the quantised dimension of tensor {index}")
    scales, channels = quantization["scale"].length, shape[quantization["quantized_dimension"]]
    zero_points = quantization["zero_point"].length if quantization["zero_point"] else 0
    if scales != channels or zero_points not in (0, 1, scales):
        raise DamagedFileError(f"tensor {index} has {channels} channels, {scales} scales and {zero_points} zero points")
