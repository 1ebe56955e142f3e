"""Files as devices fetch them: deflated (zlib format, RFC 1950) at the highest level. Nothing unpacks to more than was promised."""

import errno
import os
import zlib
from pathlib import Path

from isthmus.errors import IntegrityError, ResourceFullError

SUFFIX = ".zlib"
LEVEL = 9
CHUNK_BYTES = 1 << 20


def packed_bytes(data: bytes) -> int:
    """The size of the data deflated."""
    return len(zlib.compress(data, LEVEL))


def largest_packed_bytes(size_bytes: int) -> int:
    """What size_bytes may become at most: where nothing can be saved, deflate stores blocks as they are (zlib's compressBound)."""
    return size_bytes + (size_bytes >> 12) + (size_bytes >> 14) + (size_bytes >> 25) + 64


def pack(source: Path, target: Path) -> None:
    """Writes a file deflated; an existing target is replaced."""
    packer = zlib.compressobj(LEVEL)
    with source.open("rb") as plain, target.open("wb") as packed:
        while chunk := plain.read(CHUNK_BYTES):
            packed.write(packer.compress(chunk))
        packed.write(packer.flush())


def unpack(source: Path, target: Path, *, size_bytes: int, name: str) -> None:
    """Writes what a file holds deflated, synced to disk. name: of the file, for the messages.

    Raises IntegrityError where it is not deflated data of size_bytes (never more than that is written), ResourceFullError where
    the disk is full.
    """
    unpacker = zlib.decompressobj()
    left = size_bytes
    try:
        with source.open("rb") as packed, target.open("wb") as plain:
            while not unpacker.eof:
                chunk = unpacker.unconsumed_tail or packed.read(CHUNK_BYTES)
                if not chunk:
                    raise _wrong(name, "it ends early")
                # One byte more than may come: zlib takes 0 as "no limit".
                found = unpacker.decompress(chunk, min(left + 1, CHUNK_BYTES))
                left -= len(found)
                if left < 0:
                    raise _wrong(name, f"it is longer than {size_bytes} bytes")
                plain.write(found)
            if left:
                raise _wrong(name, f"{left} of {size_bytes} bytes are missing")
            plain.flush()
            os.fsync(plain.fileno())
    except zlib.error as error:
        raise _wrong(name, f"it cannot be unpacked ({error})") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ResourceFullError(f"no space left for {target} ({size_bytes} bytes)") from error
        raise


def _wrong(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"wrong content: {name} is not what the manifest names: {why}")
