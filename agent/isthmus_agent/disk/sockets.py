"""Paths of Unix sockets, which have 108 bytes at most, however deep their folder lies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short(folder: Path, name: str) -> Iterator[str]:
    """A path of what is called so in the folder, by the folder's descriptor; it holds inside the block alone. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
