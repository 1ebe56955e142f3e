"""The ways in which a release's network is split between device and cloud role, as a bundle holds them.

A way is a head, which is a signature of the bundle's model, and a tail, which is one of the same version of the model in the cloud role;
what crosses is `tensors`, one after the other. Without a head the inputs cross. Times are medians of one run, where the release was
measured; a device knows from its own runs how much slower it is. Made for one release, whose digest the document holds. Reading what was
written gives the same value, and there is one way to write it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError, integer

FORMAT: Final = 1
MOST_DOCUMENT_BYTES: Final = 1 << 15
MOST_WAYS: Final = 8
MOST_TENSORS: Final = 16
MOST_DIMENSIONS: Final = 8
MOST_SENT_BYTES: Final = 8 << 20
SIZES_BYTES: Final[Mapping[str, int]] = {
    "float32": 4, "float16": 2, "int32": 4, "uint8": 1, "int64": 8, "bool": 1, "int16": 2, "int8": 1,
}  # fmt: skip
"""Of one number of each type that may cross, by numpy's name."""
_MOST_SCALE: Final = 0x7F7FFFFF
_LEAST_SCALE: Final = 0x00800000


@dataclass(frozen=True)
class Tensor:
    """What crosses. name: of the tail's input. shape: of one request. scale_bits: of a scale in float32, where eight bits are sent of each
    number; None: it goes as it is. zero: the code of 0."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale_bits: int | None = None
    zero: int = 0


@dataclass(frozen=True)
class Way:
    """head: a signature of the bundle's model; None: the inputs are sent. tail: a signature in the cloud role. sent_bytes: mean."""

    head: str | None
    tail: str
    tensors: tuple[Tensor, ...]
    deflate: bool
    head_microseconds: int
    cloud_microseconds: int
    sent_bytes: int


@dataclass(frozen=True)
class Halves:
    """whole_microseconds: of the whole network in one piece. margin_millionths: by which another way must be faster to be taken."""

    release: str
    whole_microseconds: int
    margin_millionths: int
    ways: tuple[Way, ...]

    def to_json(self) -> bytes:
        """The one way to write it."""
        return numbers.dump({"format": FORMAT, "release": self.release, **self.figures()})

    def figures(self) -> dict[str, Any]:
        """All but what it was made for, of JSON's types alone."""
        ways = [{**asdict(it), "tensors": [{**asdict(one), "shape": list(one.shape)} for one in it.tensors]} for it in self.ways]
        return {"whole_microseconds": self.whole_microseconds, "margin_millionths": self.margin_millionths, "ways": ways}


_FIGURES: Final = ("whole_microseconds", "margin_millionths", "ways")
_WAY: Final = ("head", "tail", "tensors", "deflate", "head_microseconds", "cloud_microseconds", "sent_bytes")
_TENSOR: Final = ("name", "dtype", "shape", "scale_bits", "zero")
_MOST_MICROSECONDS: Final = 10**12


def from_json(content: bytes, release: str) -> Halves:
    """The ways in a document, for this release (its digest). Raises FormatError for every other content, and nothing else."""
    document = numbers.load(content, "the halves", MOST_DOCUMENT_BYTES)
    found = numbers.fields(document, "", ("format", "release", *_FIGURES))
    integer(found["format"], "format", FORMAT, FORMAT)
    made_for = numbers.digest(found["release"], "release")
    if made_for != release:
        raise FormatError("release", f"the halves were made of {made_for}, not of {numbers.shown(release)}")
    read = from_figures({name: found[name] for name in _FIGURES}, release)
    if read.to_json() != content:
        raise FormatError("", "it is not written in the one way that there is")
    return read


def from_figures(value: object, release: str) -> Halves:
    """The inverse of `Halves.figures`. Raises FormatError."""
    found = numbers.fields(value, "", _FIGURES)
    listed = numbers.items(found["ways"], "ways", MOST_WAYS, 1)
    ways = tuple(_way(it, f"ways[{index}]") for index, it in enumerate(listed))
    numbers.unique([it.tail for it in ways], "ways", "tail")
    whole = integer(found["whole_microseconds"], "whole_microseconds", 1, _MOST_MICROSECONDS)
    return Halves(release, whole, integer(found["margin_millionths"], "margin_millionths", 0, numbers.MILLION), ways)


def _way(value: object, where: str) -> Way:
    found = numbers.fields(value, where, _WAY)
    listed = numbers.items(found["tensors"], f"{where}.tensors", MOST_TENSORS, 1)
    tensors = tuple(_tensor(it, f"{where}.tensors[{index}]") for index, it in enumerate(listed))
    numbers.unique([it.name for it in tensors], f"{where}.tensors", "name")
    if sum(math.prod(it.shape) * SIZES_BYTES[it.dtype] for it in tensors) > MOST_SENT_BYTES:
        raise FormatError(f"{where}.tensors", f"more than {MOST_SENT_BYTES} bytes cross")
    return Way(
        None if found["head"] is None else numbers.name(found["head"], f"{where}.head"),
        numbers.name(found["tail"], f"{where}.tail"),
        tensors,
        numbers.truth(found["deflate"], f"{where}.deflate"),
        integer(found["head_microseconds"], f"{where}.head_microseconds", 0, _MOST_MICROSECONDS),
        integer(found["cloud_microseconds"], f"{where}.cloud_microseconds", 0, _MOST_MICROSECONDS),
        integer(found["sent_bytes"], f"{where}.sent_bytes", 1, 2 * MOST_SENT_BYTES),
    )


def _tensor(value: object, where: str) -> Tensor:
    found = numbers.fields(value, where, _TENSOR)
    name, dtype = found["name"], found["dtype"]
    if not isinstance(name, str) or not 0 < len(name) <= numbers.MOST_DEVICE_CHARACTERS:
        raise FormatError(f"{where}.name", f"found {numbers.shown(name)}, expected the name of an input")
    if not isinstance(dtype, str) or dtype not in SIZES_BYTES:
        raise FormatError(f"{where}.dtype", f"found {numbers.shown(dtype)}, expected one of {', '.join(SIZES_BYTES)}")
    sizes = numbers.items(found["shape"], f"{where}.shape", MOST_DIMENSIONS, 1)
    shape = tuple(integer(it, f"{where}.shape[{index}]", 1, MOST_SENT_BYTES) for index, it in enumerate(sizes))
    bits = None if found["scale_bits"] is None else integer(found["scale_bits"], f"{where}.scale_bits", _LEAST_SCALE, _MOST_SCALE)
    if bits is not None and dtype != "float32":
        raise FormatError(f"{where}.scale_bits", "only float32 is sent in eight bits")
    return Tensor(name, dtype, shape, bits, integer(found["zero"], f"{where}.zero", 0, 255))
