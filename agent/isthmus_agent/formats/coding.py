"""Bytes near their order-0 entropy, read with what Python has in C: no loop over single symbols.

A coding of n bytes is written without n; who reads it knows it. 0 bytes have an empty coding. Else its first byte says how:

    0 … 4   a leaf: the number of a compressor (see LEAVES), the payload's length, the payload
    65, 66, 68   codes of 1, 2 or 4 bits a byte, the first in the highest bits: the bytes that the lower codes stand for, most frequent
            first (2^bits - 1 of them); the coding of the codes, in whole bytes; the coding of those bytes for which the highest code
            stands (as many as there are such codes)

Codes make Huffman codes good where a byte carries less than a bit or two: eight of them, or four, share one symbol. What is packed is coded
again in the same way, so that a mask of rare ones becomes a mask of rare bytes.

Lengths are LEB128, each in its only shortest form. Nothing is inflated beyond n, and codings nest MAX_DEPTH deep.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError

MAX_DEPTH: Final = 4
DICTIONARY_BYTES: Final = 1 << 20
"""What LZMA may look back. It bounds what a reader holds, whatever the payload asks for."""
LZMA_PROPERTIES: Final = {3: {"lc": 3, "lp": 0, "pb": 0}, 4: {"lc": 0, "lp": 0, "pb": 0}}
STORED, DEFLATE, BZIP2 = 0, 1, 2
PACKED: Final = 64
CODE_BITS: Final = (1, 2, 4)
_PIECE_BYTES = 1 << 16
_IN_PAIRS_OF_BITS = [bytes((byte >> 6, byte >> 4 & 3, byte >> 2 & 3, byte & 3)) for byte in range(256)]
_DIGITS = bytes(int(chr(digit), 16) if chr(digit) in "0123456789abcdef" else 0 for digit in range(256))
_Inflate = Callable[[bytes, int], bytes]


class Reader:
    """A coded file, read once from its start to its end. It never asks for more bytes at once than it was told to expect."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, length: int) -> bytes:
        """Exactly so many bytes. Raises FormatError where the file ends before."""
        pieces = []
        while length > 0:
            piece = self._file.read(length)
            if not piece:
                raise FormatError("", "it ends early")
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def number(self, most: int = MOST_NUMBER) -> int:
        """The next number. Raises FormatError where it is above `most`, or not in its shortest form."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if value > most or (shift and not byte):
                raise FormatError("", f"a number is above {most} or not in its shortest form")
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise FormatError("", f"a number is above {most} or not in its shortest form")

    def end(self) -> None:
        """Raises FormatError unless nothing is left."""
        if self._file.read(1):
            raise FormatError("", "something follows its end")


def decode(reader: Reader, length: int, depth: int = MAX_DEPTH) -> bytes:
    """The next `length` bytes that were coded. Raises FormatError where there is no such coding."""
    if length == 0:
        return b""
    method = reader.take(1)[0]
    inflate = LEAVES.get(method)
    if inflate is not None:
        # What a compressor cannot shorten is stored: no payload is longer than what it stands for.
        payload = reader.take(reader.number(length))
        return inflate(payload, length)
    bits = method - PACKED
    if bits not in CODE_BITS or depth == 0:
        raise FormatError("", f"coding {method} is not known here")
    values = reader.take(2**bits - 1)
    packed = decode(reader, -(-length * bits // 8), depth - 1)
    table, escape = values + bytes(257 - 2**bits), bytes([2**bits - 1])
    escapes = decode(reader, sum(codes.count(escape) for codes in _codes(packed, bits, length)), depth - 1)
    whole, following = bytearray(length), iter(escapes)
    start = 0
    for codes in _codes(packed, bits, length):
        whole[start : start + len(codes)] = codes.translate(table)
        place = start - 1
        for others in codes.split(escape)[:-1]:
            place += len(others) + 1
            whole[place] = next(following)
        start += len(codes)
    return bytes(whole)


def _codes(packed: bytes, bits: int, length: int) -> Iterator[bytes]:
    """One byte a code, a piece at a time: what a device holds stays small."""
    step = _PIECE_BYTES * bits // 8
    for start in range(0, len(packed), step):
        yield _unpacked(packed[start : start + step], bits)[: length - start * 8 // bits]


def _unpacked(packed: bytes, bits: int) -> bytes:
    """One byte a code."""
    if bits == 2:
        return b"".join(map(_IN_PAIRS_OF_BITS.__getitem__, packed))
    if bits == 4:
        return packed.hex().encode().translate(_DIGITS)
    return format(int.from_bytes(packed, "big"), f"0{8 * len(packed)}b").encode().translate(_DIGITS)


def _stored(payload: bytes, length: int) -> bytes:
    return _whole(payload, length)


def _inflated(payload: bytes, length: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than may come, so that its end is seen.
        found = inflater.decompress(payload, length + 1)
    except zlib.error as error:
        raise FormatError("", f"it cannot be inflated ({error})") from None
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
        raise FormatError("", "a part of it has another length than it says")
    return _whole(found, length)


def _bzip2(payload: bytes, length: int) -> bytes:
    inflater = bz2.BZ2Decompressor()
    try:
        found = inflater.decompress(payload, length + 1)
    except (OSError, EOFError, ValueError) as error:
        raise FormatError("", f"it cannot be inflated ({error})") from None
    if not inflater.eof or inflater.unused_data:
        raise FormatError("", "a part of it has another length than it says")
    return _whole(found, length)


def _lzma(properties: dict[str, int]) -> _Inflate:
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": DICTIONARY_BYTES, **properties}]

    def inflated(payload: bytes, length: int) -> bytes:
        inflater = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
        try:
            found = inflater.decompress(payload, length + 1)
        except (lzma.LZMAError, EOFError, ValueError) as error:
            raise FormatError("", f"it cannot be inflated ({error})") from None
        if not inflater.eof or inflater.unused_data:
            raise FormatError("", "a part of it has another length than it says")
        return _whole(found, length)

    return inflated


def _whole(found: bytes, length: int) -> bytes:
    if len(found) != length:
        raise FormatError("", "a part of it has another length than it says")
    return found


LEAVES: Final[dict[int, _Inflate]] = {
    STORED: _stored,
    DEFLATE: _inflated,
    BZIP2: _bzip2,
    **{number: _lzma(properties) for number, properties in LZMA_PROPERTIES.items()},
}
"""The compressors by their numbers: from a payload to exactly so many bytes, or FormatError."""
