"""Sums of many small integers at once: the bytes of a tensor are one large integer, its elements lie side by side in it.

Carries that would leave an element are kept inside it by masking its highest bit, so that every sum is taken modulo 2^bits.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

PIECE_BYTES: Final = 1 << 15
"""So much is summed at a time: it stays in the processor's cache."""


def summed(first: bytes, second: bytes | bytearray, bits: int) -> bytearray:
    """The sum of two arrays of little-endian elements of so many bits, element by element. first, second: of one length, in whole bytes."""
    found = bytearray(len(first))
    for start in range(0, len(first), PIECE_BYTES):
        a, b = first[start : start + PIECE_BYTES], second[start : start + PIECE_BYTES]
        sums = _sum(int.from_bytes(a, "little"), int.from_bytes(b, "little"), len(a), bits)
        found[start : start + len(a)] = sums.to_bytes(len(a), "little")
    return found


def unfolded(codes: bytes | bytearray, bits: int) -> bytearray:
    """Signed numbers from their codes 0, -1, 1, -2, 2 … ↔ 0, 1, 2, 3, 4 …, as elements of so many bits."""
    found = bytearray(len(codes))
    for start in range(0, len(codes), PIECE_BYTES):
        piece = codes[start : start + PIECE_BYTES]
        value, ones = int.from_bytes(piece, "little"), _repeated(1, len(piece), bits)
        odd = value & ones
        halves = (value >> 1) & (_repeated(2 ** (bits - 1) - 1, len(piece), bits))
        found[start : start + len(piece)] = (halves ^ ((odd << bits) - odd)).to_bytes(len(piece), "little")
    return found


def joined(planes: Sequence[bytes]) -> bytes | bytearray:
    """Elements from all their lowest bytes, all their second, and so on."""
    if len(planes) == 1:
        return planes[0]
    elements = bytearray(sum(map(len, planes)))
    for number, plane in enumerate(planes):
        elements[number :: len(planes)] = plane
    return elements


def _sum(a: int, b: int, length: int, bits: int) -> int:
    low, high = _repeated(2 ** (bits - 1) - 1, length, bits), _repeated(2 ** (bits - 1), length, bits)
    return ((a & low) + (b & low)) ^ ((a ^ b) & high)


@lru_cache(maxsize=32)
def _repeated(value: int, length: int, bits: int) -> int:
    """A value in each element of so many bytes."""
    unit = (value << 4 | value) if bits == 4 else value
    size = max(bits // 8, 1)
    return int.from_bytes(unit.to_bytes(size, "little") * (length // size), "little")
