"""Content hashes of large files, on all cores.

Not the sha256 that a manifest names, but a two-level one, so that a single large file can be hashed by several threads:
sha256 over the sha256 of each 16 MiB chunk. Used where only this code reads the hash again: the compile cache's keys and
its check for damage.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 16 << 20
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FileRange:
    """size_bytes bytes of a file from offset_bytes on."""

    path: Path
    offset_bytes: int
    size_bytes: int

    @classmethod
    def whole(cls, path: Path) -> "FileRange":
        """The whole file. Raises OSError where there is none."""
        return cls(path, 0, path.stat().st_size)


def file_sha256(path: Path) -> str:
    """The plain sha256 of a file, as hex. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _chunks(file: FileRange) -> list[FileRange]:
    starts = range(0, max(file.size_bytes, 1), CHUNK_BYTES)
    return [FileRange(file.path, file.offset_bytes + start, min(CHUNK_BYTES, file.size_bytes - start)) for start in starts]


def _hash_chunk(chunk: FileRange) -> bytes:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(READ_BYTES, max(chunk.size_bytes, 1))))
    left = chunk.size_bytes
    with open(chunk.path, "rb", buffering=0) as stream:
        stream.seek(chunk.offset_bytes)
        while left:
            count = stream.readinto(buffer[:left] if left < len(buffer) else buffer)
            if not count:
                raise OSError(f"{chunk.path} ended {left} bytes early")
            digest.update(buffer[:count])
            left -= count
    return digest.digest()


def tree_hashes(files: Sequence[FileRange]) -> list[str]:
    """The two-level hash of each file, as hex. Raises OSError where one cannot be read, or is shorter than said."""
    chunks = [_chunks(file) for file in files]
    flat = [chunk for of_file in chunks for chunk in of_file]
    if sum(chunk.size_bytes for chunk in flat) <= CHUNK_BYTES:
        digests = iter([_hash_chunk(chunk) for chunk in flat])
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = iter(list(pool.map(_hash_chunk, flat)))
    return [hashlib.sha256(b"".join(next(digests) for _ in of_file)).hexdigest() for of_file in chunks]
