"""Bytes coded near their order-0 entropy: the writing half of `isthmus_agent.formats.coding`, which says what is written."""

import bz2
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isthmus_agent.formats import coding

Bytes = NDArray[np.uint8]
WORTH_TRYING = 0.4
"""Codes are tried where the bytes that they can stand for are at least this share of all: below it nearly all would be escapes."""
DEAR_BYTES = 1 << 16
"""Above it LZMA and bzip2, which take a second for a megabyte, are tried only on whole contents, and only where deflate finds repeats."""


def number(value: int) -> bytes:
    """A number as LEB128."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


@lru_cache(maxsize=64)
def encode(data: bytes, depth: int = coding.MAX_DEPTH) -> bytes:
    """The shortest coding that was found. `coding.decode` reads it, told the length.

    The last ones are remembered: a delta is tried in several ways, and most contents are the same in all of them.
    """
    if not data:
        return b""
    return min((_leaf(data, depth), *_packed(np.frombuffer(data, np.uint8), depth)), key=len)


def _leaf(data: bytes, depth: int) -> bytes:
    by_symbols, by_repeats = (_deflated(data, strategy) for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY))
    payloads = {coding.DEFLATE: min(by_symbols, by_repeats, key=len)}
    if len(data) <= DEAR_BYTES or (depth == coding.MAX_DEPTH and len(by_repeats) < len(by_symbols)):
        payloads[coding.BZIP2] = bz2.compress(data)
        # A smaller dictionary can be read with a larger one, and takes less time to set up.
        dictionary_bytes = min(max(4096, len(data)), coding.DICTIONARY_BYTES)
        for leaf, properties in coding.LZMA_PROPERTIES.items():
            chain = [{"id": lzma.FILTER_LZMA1, "preset": 9, "dict_size": dictionary_bytes, **properties}]
            payloads[leaf] = lzma.compress(data, lzma.FORMAT_RAW, filters=chain)
    leaf, payload = min(payloads.items(), key=lambda entry: len(entry[1]))
    if len(payload) >= len(data):
        leaf, payload = coding.STORED, data
    return bytes([leaf]) + number(len(payload)) + payload


def _deflated(data: bytes, strategy: int) -> bytes:
    # At level 9 deflate looks through thousands of repeats of a common byte, for nothing that a long content would notice.
    level = 9 if len(data) <= DEAR_BYTES else 6
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return deflater.compress(data) + deflater.flush()


def _packed(data: Bytes, depth: int) -> Iterator[bytes]:
    """Codings by packed codes: all widths of a code for a whole content, the one that promises the most for what is packed in it."""
    if depth == 0:
        return
    promised = sorted(
        (packing for bits in coding.CODE_BITS if (packing := _packing(data, bits))), key=lambda packing: packing.promise_bytes
    )
    for packing in promised[: None if depth == coding.MAX_DEPTH else 1]:
        codes, escapes = encode(packing.codes, depth - 1), encode(packing.escapes, depth - 1)
        yield bytes([coding.PACKED + packing.bits]) + packing.values + codes + escapes


@dataclass(frozen=True)
class _Packing:
    """A content as packed codes. promise_bytes: its entropy."""

    bits: int
    values: bytes
    codes: bytes
    escapes: bytes

    @property
    def promise_bytes(self) -> float:
        return len(self.values) + entropy_bytes(self.codes) + entropy_bytes(self.escapes)


def _packing(data: Bytes, bits: int) -> _Packing | None:
    counts = np.bincount(data, minlength=256)
    values = np.argsort(-counts, kind="stable").astype(np.uint8)[: 2**bits - 1]
    if counts[values].sum() < WORTH_TRYING * data.size:
        return None
    codes = np.full(256, 2**bits - 1, np.uint8)
    codes[values] = np.arange(2**bits - 1)
    coded = codes[data]
    return _Packing(bits, values.tobytes(), _together(coded, bits), data[coded == 2**bits - 1].tobytes())


def entropy_bytes(data: bytes) -> float:
    """The order-0 entropy of all bytes together: no code that gives each byte value a fixed length is shorter."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    shares = counts[counts > 0] / max(len(data), 1)
    return float(-(shares * np.log2(shares)).sum() * len(data) / 8)


def _together(codes: Bytes, bits: int) -> bytes:
    """Codes in whole bytes, the first in the highest bits; what is left of the last byte is zero."""
    each = 8 // bits
    rows = np.append(codes, np.zeros(-codes.size % each, np.uint8)).reshape(-1, each)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    packed: Bytes = np.bitwise_or.reduce(rows << shifts, axis=1).astype(np.uint8)
    return packed.tobytes()
