"""What crosses a cut, as bytes: tensors one after the other, little-endian, in C order; both ends know their types, shapes and scales.

Floats may be quantised, affinely and to eight bits with one scale a tensor: q = round(v / scale) + zero, v ≈ (q − zero) · scale, of which
the error is at most scale / 2 within the range that the scale was made of (Jacob et al., arXiv 1712.05877). What has eight bits or is no
float goes as it is. All of it may be deflated (zlib's form, RFC 1950).
"""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus_agent.formats.halves import Tensor, Way

DEFLATE_LEVEL: Final = 1
"""The fastest: on features higher ones gain a few percent of bytes and cost a multiple of the time."""
_LEVELS: Final = 255


class WireError(ValueError):
    """Bytes that are not what a format says; the text says what was found."""


@dataclass(frozen=True)
class Affine:
    """scale: positive. zero: the code of 0, 0 to 255."""

    scale: float
    zero: int

    @classmethod
    def of(cls, least: float, most: float) -> "Affine":
        """For values from least to most, and 0, which stays exact: features behind a ReLU are full of it. Both are finite."""
        low, high = min(least, 0.0), max(most, 0.0)
        scale = high / _LEVELS - low / _LEVELS  # a difference of two finite floats may not be one
        if scale < np.finfo(np.float32).tiny:
            return cls(1.0, 0)
        return cls(scale, min(max(round(-low / scale), 0), _LEVELS))

    def quantise(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Values outside of the range become its ends."""
        return np.clip(np.rint(values / np.float32(self.scale)) + np.float32(self.zero), 0, _LEVELS).astype(np.uint8)

    @property
    def bits(self) -> int:
        """The scale's, as both ends compute with it: in float32."""
        return int(struct.unpack("<I", struct.pack("<f", self.scale))[0])

    @classmethod
    def of_bits(cls, bits: int, zero: int) -> "Affine":
        """The inverse of `bits`."""
        return cls(struct.unpack("<f", struct.pack("<I", bits))[0], zero)

    def restore(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (codes.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


@dataclass(frozen=True)
class WireTensor:
    """name: of the tail's input. affine: None where it goes as it is."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    affine: Affine | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> "WireTensor":
        """As a bundle says it."""
        affine = None if tensor.scale_bits is None else Affine.of_bits(tensor.scale_bits, tensor.zero)
        return cls(tensor.name, tensor.dtype, tensor.shape, affine)

    def signed(self) -> Tensor:
        """As it stands in a bundle: the inverse of `of`."""
        return Tensor(self.name, self.dtype, self.shape, *((self.affine.bits, self.affine.zero) if self.affine else ()))

    @property
    def sent_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8) if self.affine else np.dtype(self.dtype).newbyteorder("<")

    @property
    def sent_bytes(self) -> int:
        return math.prod(self.shape) * self.sent_dtype.itemsize


@dataclass(frozen=True)
class WireFormat:
    """tensors: in their order on the wire."""

    tensors: tuple[WireTensor, ...]
    deflate: bool = False

    @classmethod
    def of(cls, way: Way) -> "WireFormat":
        """What crosses in a way, as a bundle says it."""
        return cls(tuple(map(WireTensor.of, way.tensors)), way.deflate)

    @property
    def plain_bytes(self) -> int:
        """Before deflating."""
        return sum(tensor.sent_bytes for tensor in self.tensors)

    @property
    def is_quantised(self) -> bool:
        return any(tensor.affine for tensor in self.tensors)

    @property
    def name(self) -> str:
        """Such as `uint8, deflated`."""
        return ("uint8" if self.is_quantised else "as it is") + (", deflated" if self.deflate else "")

    def encode(self, features: Mapping[str, NDArray[Any]]) -> bytes:
        """The bytes of a request's features, by the tail's names. Raises WireError where one has another shape or type."""
        parts = []
        for tensor in self.tensors:
            values = features[tensor.name]
            if values.shape != tensor.shape or values.dtype != np.dtype(tensor.dtype):
                raise WireError(f"{tensor.name!r} is {values.dtype} {list(values.shape)}, not {tensor.dtype} {list(tensor.shape)}")
            sent = tensor.affine.quantise(values) if tensor.affine else values
            parts.append(np.ascontiguousarray(sent, tensor.sent_dtype).tobytes())
        data = b"".join(parts)
        return zlib.compress(data, DEFLATE_LEVEL) if self.deflate else data

    def decode(self, data: bytes) -> dict[str, NDArray[Any]]:
        """The inverse, but for what quantising rounds. Raises WireError, and never makes more bytes than the format has."""
        if self.deflate:
            data = _inflated(data, self.plain_bytes)
        if len(data) != self.plain_bytes:
            raise WireError(f"there are {len(data)} bytes, not {self.plain_bytes}")
        features: dict[str, NDArray[Any]] = {}
        start = 0
        for tensor in self.tensors:
            sent = np.frombuffer(data, tensor.sent_dtype, math.prod(tensor.shape), start).reshape(tensor.shape)
            features[tensor.name] = tensor.affine.restore(sent).astype(tensor.dtype) if tensor.affine else sent.astype(tensor.dtype)
            start += tensor.sent_bytes
        return features


def _inflated(data: bytes, size_bytes: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(data, size_bytes + 1)
    except zlib.error as error:
        raise WireError(f"it is not deflated: {error}") from error
    if not reader.eof or reader.unused_data:
        raise WireError("it ends too early, or more follows than was deflated")
    return found


def formats(tensors: Sequence[WireTensor], ranges: Mapping[str, tuple[float, float]]) -> tuple[WireFormat, ...]:
    """The forms to choose from: as it is and, where floats cross whose range is finite, quantised; each plain and deflated.

    ranges: least and most value of each float tensor, by name, as the evaluation set has them.
    """
    plain = tuple(tensors)
    quantised = tuple(
        replace(it, affine=Affine.of(*ranges[it.name])) if it.dtype == "float32" and _is_finite(ranges.get(it.name)) else it for it in plain
    )
    kinds = [plain, quantised] if quantised != plain else [plain]
    return tuple(WireFormat(kind, deflate) for kind in kinds for deflate in (False, True))


def _is_finite(values: tuple[float, float] | None) -> bool:
    return values is not None and all(map(math.isfinite, values))
