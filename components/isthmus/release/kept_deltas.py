"""Deltas that this machine has made: a preview's are the update's, and those of one wave are the next one's.

    FROM-TO     each named by the first half of the SHA-256 of both contents: the SHA-256 of the delta, then the delta

A file is made beside its place and renamed: it is there completely or not at all. What fails the check when it is read counts as absent.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.release import deltas

MOST_FILES: Final = 64
MOST_BYTES: Final = 1 << 30
"""What is kept: of more, those go that were used longest ago."""
_HASH_BYTES: Final = 32


class KeptDeltas:
    """A folder of deltas. Whatever is wrong with it, deltas are made.

    Args:
        folder: made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def beside(cls, releases: Path) -> "KeptDeltas":
        """In the folder of the releases that this machine keeps."""
        return cls(releases / "deltas")

    def make(self, old: bytes, new: bytes) -> bytes:
        """As `deltas.make`; one that was made before is read."""
        start, end = (hashlib.sha256(it).hexdigest()[:32] for it in (old, new))
        file = self._folder / f"{start}-{end}"
        with suppress(OSError):
            kept = file.read_bytes()
            found = kept[_HASH_BYTES:]
            if hashlib.sha256(found).digest() == kept[:_HASH_BYTES]:
                os.utime(file)
                return found
        made = deltas.make(old, new)
        with suppress(OSError):
            self._keep(file, hashlib.sha256(made).digest() + made)
        return made

    def _keep(self, file: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as written:
            try:
                written.write(content)
                written.close()
                Path(written.name).rename(file)
            except OSError:
                Path(written.name).unlink(missing_ok=True)
                raise
        self._evict()

    def _evict(self) -> None:
        sizes = {file: file.stat() for file in self._folder.iterdir()}
        left_bytes = MOST_BYTES
        for index, (file, its) in enumerate(sorted(sizes.items(), key=lambda it: it[1].st_mtime, reverse=True)):
            left_bytes -= its.st_size
            if index >= MOST_FILES or (left_bytes < 0 and index):
                file.unlink(missing_ok=True)
