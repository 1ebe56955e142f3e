"""How a new file is made from an old one, knowing about tensors.

    MAGIC, the new file's size, and frames until that is reached. A frame makes FRAME_BYTES at most:
        the length of its list of operations, and that list's coding (see `coding`)
        for each kind of operation with content, in order of first use: the coding of the content of all of them
    The list begins with how many there are. An operation is two or three numbers: kind (group · 16 + number in KINDS), length in
    bytes, and, where it reads the old file, how far from the end of the last such read (0 at a frame's start) it begins, folded
    (0, -1, 1, -2, 2 … ↔ 0, 1, 2, 3, 4 …).

Operations that do the same may be in different groups, so that tensors of different statistics are coded apart. Content of wider elements
is coded as planes: all lowest bytes, then all second, each by itself. Differences of wider elements are folded, so that small ones have
empty high planes whatever their sign; floats are taken as the integers that their bits spell, which grow as they do.

A full file is a delta from nothing. Whoever applies one holds a few times FRAME_BYTES, never a whole file.
"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from isthmus_agent.formats import coding, digests, swar
from isthmus_agent.formats.numbers import FormatError

MAGIC: Final = b"ISTD\x01"
FRAME_BYTES: Final = 1 << 20
OPERATIONS_BYTES: Final = 1 << 18
"""What the operations of one frame may take before they are coded."""
GROUPS: Final = 64
GROUP: Final = 16


@dataclass(frozen=True)
class Kind:
    """What an operation does. content: it takes some from the delta. old: it reads the old file; with content, the two are summed.

    bits: of an element.
    """

    content: bool
    old: bool
    bits: int = 8

    @property
    def width_bytes(self) -> int:
        """The bytes of an element, 1 at least."""
        return max(self.bits // 8, 1)


COPY, NEW, SUM = 0, 1, 5
KINDS: Final[dict[int, Kind]] = {
    COPY: Kind(content=False, old=True),
    NEW: Kind(content=True, old=False),
    2: Kind(content=True, old=False, bits=16),
    3: Kind(content=True, old=False, bits=32),
    4: Kind(content=True, old=False, bits=64),
    SUM: Kind(content=True, old=True),
    6: Kind(content=True, old=True, bits=4),
    7: Kind(content=True, old=True, bits=16),
    8: Kind(content=True, old=True, bits=32),
    9: Kind(content=True, old=True, bits=64),
}


class Sink(Protocol):
    """Where the new file goes."""

    def write(self, data: bytes, /) -> object:
        """Writes all of it, or raises OSError."""


@dataclass(frozen=True)
class Operation:
    """One step of a frame. head: kind and group. old_at: where in the old file it reads; 0 for what does not."""

    head: int
    length: int
    old_at: int

    @property
    def kind(self) -> Kind:
        return KINDS[self.head % GROUP]


def made_bytes(delta: BinaryIO) -> int:
    """The size of the file that a delta says it makes. Raises FormatError where it is none."""
    return _begun(delta)[1]


def apply(old: BinaryIO, delta: BinaryIO, new: Sink, *, digest: str, most_bytes: int) -> None:
    """Writes the new file.

    old: can seek. digest (`sha256:` and hexadecimal digits): of the new file, from signed data. most_bytes: it may have, by signed data or
    by what the device can keep; no more is ever written.

    Raises FormatError where the delta is damaged, is for another old file, or makes anything else than what was promised: then what
    was written is worthless. An OSError of one of the files is passed on.
    """
    reader, size_bytes = _begun(delta)
    if size_bytes > most_bytes:
        raise FormatError("", f"it makes a file of {size_bytes} bytes, {most_bytes} at most are allowed")
    old_bytes = old.seek(0, 2)
    left, hashed = size_bytes, hashlib.sha256()
    while left:
        frame = _frame(old, old_bytes, reader, min(left, FRAME_BYTES))
        hashed.update(frame)
        new.write(frame)
        left -= len(frame)
    reader.end()
    if (found := digests.named(hashed.hexdigest())) != digest:
        raise FormatError("", f"wrong content: it makes {digests.shown(found)}…, wanted is {digests.shown(digest)}…")


def _begun(delta: BinaryIO) -> tuple[coding.Reader, int]:
    reader = coding.Reader(delta)
    if reader.take(len(MAGIC)) != MAGIC:
        raise FormatError("", "it is no delta of a version known here")
    return reader, reader.number()


def _frame(old: BinaryIO, old_bytes: int, reader: coding.Reader, most: int) -> bytes:
    operations = _operations(coding.decode(reader, reader.number(OPERATIONS_BYTES)), old_bytes, most)
    made: dict[int, memoryview] = {}
    for head, same in by_head(operations).items():
        kind, length = KINDS[head % GROUP], sum(operation.length for operation in same)
        before = b"".join(_read(old, operation) for operation in same) if kind.old else b""
        made[head] = memoryview(_made(kind, before, _content(reader, kind, length)) if kind.content else before)
    places = dict.fromkeys(made, 0)
    pieces = []
    for operation in operations:
        start = places[operation.head]
        places[operation.head] = start + operation.length
        pieces.append(made[operation.head][start : start + operation.length])
    return b"".join(pieces)


def _operations(coded: bytes, old_bytes: int, most: int) -> list[Operation]:
    """The operations of a frame, all of them in their bounds. most: bytes that they may make."""
    reader, left, last = coding.Reader(io.BytesIO(coded)), most, 0
    operations = []
    for _ in range(reader.number(OPERATIONS_BYTES)):
        head = reader.number(GROUP * GROUPS - 1)
        kind = KINDS.get(head % GROUP)
        if kind is None:
            raise FormatError("", f"an operation of kind {head % GROUP} is not known here")
        length = reader.number(left)
        if length == 0 or length % kind.width_bytes:
            raise FormatError("", f"an operation of kind {head % GROUP} makes {length} bytes")
        old_at = 0
        if kind.old:
            folded = reader.number()
            old_at = last + (folded >> 1 ^ -(folded & 1))
            last = old_at + length
            if old_at < 0 or last > old_bytes:
                raise FormatError("", "it reads beyond the old file: it is for another one")
        left -= length
        operations.append(Operation(head, length, old_at))
    reader.end()
    if not operations:
        raise FormatError("", "a part of it makes nothing")
    return operations


def by_head(operations: Iterable[Operation]) -> dict[int, list[Operation]]:
    """The operations that do the same in the same group, in order of first use: the order of their contents."""
    found: dict[int, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.head, []).append(operation)
    return found


def _read(old: BinaryIO, operation: Operation) -> bytes:
    old.seek(operation.old_at)
    found = old.read(operation.length)
    if len(found) != operation.length:
        raise FormatError("", "the old file ends early")
    return found


def _content(reader: coding.Reader, kind: Kind, length: int) -> bytes | bytearray:
    """The elements that the operations of one head take from the delta, still folded."""
    width = kind.width_bytes
    return swar.joined([coding.decode(reader, length // width) for _ in range(width)])


def _made(kind: Kind, before: bytes, content: bytes | bytearray) -> bytes | bytearray:
    if not kind.old:
        return content
    return swar.summed(before, swar.unfolded(content, kind.bits) if kind.width_bytes > 1 else content, kind.bits)
