"""Sealing: contents that only who has a secret can read or change, from the standard library alone, which has no cipher.

Both constructions are the textbook's parts, put together in the textbook's way:

- keys for encrypting and for the tag: HKDF-SHA256 (RFC 5869) of the secret, with the kind's salt and one purpose each;
- encryption: XOR with a pseudorandom function in counter mode, of the nonce and of counters 0, 1, … (8 bytes, big-endian);
- then the tag: HMAC-SHA256 of all before it, compared in constant time before anything else is done (encrypt, then MAC).

    the kind's magic  ‖  nonce (16)  ‖  ciphertext  ‖  tag (32)

A kind is for one of two constructions, which differ in the function. Small contents, in memory (`sealed`, `unsealed`):
HMAC-SHA256(key, nonce ‖ counter), 32 bytes at a time. Megabytes, from file to file (`seal`, `opened`): SHAKE-256(key ‖ nonce ‖ counter),
64 KiB at a time; with keys of one length, that is a pseudorandom function as KMAC is one. All in all it is ten times as fast as the other
(benchmarks/sealing.py): hashlib makes 500 MB/s of it, HMAC by blocks 20, and 64 KiB is what Python XORs fastest as one number.

One nonce may be used for one content under one secret. Where the same content must make the same object, it is `nonce_of` the content: a
pseudorandom function of it under a third key, as in SIV; then an object tells only which others are the same.

The vectors, for the secret 00 01 … 1f and the nonce 64 65 … 73, are in tests/isthmus_agent/formats/test_sealing.py; tests there and in
test_enrolment.py write both constructions again from this page, with another library.
"""

import hashlib
import hmac
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, Final, cast

from isthmus_agent.formats.numbers import FormatError

SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 16
TAG_BYTES: Final = 32
PIECE_BYTES: Final = 64 << 10
"""Of a large content that is in memory at once."""
_BLOCK_BYTES: Final = 32


@dataclass(frozen=True)
class Kind:
    """What is sealed, and for what. Objects of one kind are never taken for those of another.

    magic: what an object begins with. salt: of the HKDF. most_bytes: how large an object may be that is opened. refusal: what is said of
    one that cannot be opened.
    """

    magic: bytes
    salt: bytes
    most_bytes: int
    refusal: str

    @property
    def more_bytes(self) -> int:
        """That an object is larger than its content."""
        return len(self.magic) + NONCE_BYTES + TAG_BYTES

    def derived(self, secret: bytes, purpose: bytes) -> bytes:
        """A key from a secret, 32 bytes."""
        return derived(secret, self.salt, purpose)


def derived(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA256, 32 bytes."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), purpose + b"\x01", "sha256")


def sealed(kind: Kind, secret: bytes, content: bytes, nonce: bytes) -> bytes:
    """A small content, so that only the secret's owner reads or changes it. nonce: 16 bytes."""
    beginning = kind.magic + nonce + _crypted(kind.derived(secret, b"encrypt"), nonce, content)
    return beginning + hmac.digest(kind.derived(secret, b"authenticate"), beginning, "sha256")


def unsealed(kind: Kind, secret: bytes, content: bytes) -> bytes:
    """What was sealed. Raises FormatError where it was not sealed with this secret, or is not what was."""
    beginning, tag = content[:-TAG_BYTES], content[-TAG_BYTES:]
    expected = hmac.digest(kind.derived(secret, b"authenticate"), beginning, "sha256")
    is_of_kind = kind.more_bytes <= len(content) <= kind.most_bytes and beginning.startswith(kind.magic)
    if not is_of_kind or not hmac.compare_digest(tag, expected):
        raise FormatError("", kind.refusal)
    nonce, text = beginning[len(kind.magic) :][:NONCE_BYTES], beginning[len(kind.magic) + NONCE_BYTES :]
    return _crypted(kind.derived(secret, b"encrypt"), nonce, text)


def nonce_of(kind: Kind, secret: bytes, content: BinaryIO) -> bytes:
    """The nonce by which the same content makes the same object. content: read from its beginning."""
    content.seek(0)
    found = hmac.new(kind.derived(secret, b"nonce"), digestmod="sha256")
    for piece in _pieces(content):
        found.update(piece)
    return found.digest()[:NONCE_BYTES]


def seal(kind: Kind, secret: bytes, content: BinaryIO, into: BinaryIO, nonce: bytes) -> None:
    """As `sealed`, for a content of any size, in little memory. content: read from its beginning."""
    content.seek(0)
    tag = hmac.new(kind.derived(secret, b"authenticate"), digestmod="sha256")
    for piece in chain([kind.magic + nonce], _crypted_pieces(kind.derived(secret, b"encrypt"), nonce, _pieces(content))):
        tag.update(piece)
        into.write(piece)
    into.write(tag.digest())


def opened(kind: Kind, secret: bytes, content: BinaryIO) -> BinaryIO:
    """What was sealed, to be read once from its beginning, after the tag over the whole was checked. Raises FormatError as `unsealed`.

    content: stays open, and belongs to the reader, for as long as it is read.
    """
    size_bytes = content.seek(0, 2)
    rest_bytes = size_bytes - kind.more_bytes
    content.seek(0)
    beginning = content.read(len(kind.magic) + NONCE_BYTES)
    if rest_bytes < 0 or size_bytes > kind.most_bytes or not beginning.startswith(kind.magic):
        raise FormatError("", kind.refusal)
    expected = hmac.new(kind.derived(secret, b"authenticate"), beginning, "sha256")
    for piece in _pieces(content, rest_bytes):
        expected.update(piece)
    if not hmac.compare_digest(content.read(), expected.digest()):
        raise FormatError("", kind.refusal)
    content.seek(len(beginning))
    key, nonce = kind.derived(secret, b"encrypt"), beginning[len(kind.magic) :]
    return cast(BinaryIO, io.BufferedReader(_Reader(_crypted_pieces(key, nonce, _pieces(content, rest_bytes))), PIECE_BYTES))


class _Reader(io.RawIOBase):
    """Pieces, as a file that is read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._left = self._left or memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def _pieces(content: BinaryIO, size_bytes: int | None = None) -> Iterator[bytes]:
    """A content in pieces of one size, the last one shorter. size_bytes: no more than that is read; None: all is."""
    left = size_bytes
    while piece := content.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES)):
        left = None if left is None else left - len(piece)
        yield piece


def _crypted_pieces(key: bytes, nonce: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Encrypts and decrypts a large content."""
    for counter, piece in enumerate(pieces):
        yield _xored(piece, hashlib.shake_256(key + nonce + counter.to_bytes(8, "big")).digest(len(piece)))


def _crypted(key: bytes, nonce: bytes, content: bytes) -> bytes:
    """Encrypts and decrypts a small content."""
    blocks = range(-(-len(content) // _BLOCK_BYTES))
    stream = b"".join(hmac.digest(key, nonce + counter.to_bytes(8, "big"), "sha256") for counter in blocks)
    return _xored(content, stream[: len(content)])


def _xored(content: bytes, stream: bytes) -> bytes:
    return (int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(content), "big")
