"""What devices have counted, from a folder of documents: one a device, as `isthmus fleet counts` writes them."""

from pathlib import Path
from typing import Final

from isthmus.errors import InputError, Problem
from isthmus.migration.learning.relearning import Documents, documents
from isthmus_agent.formats.told_counts import MOST_OBJECT_BYTES

MOST_FILES: Final = 10_000
"""More is no folder of these, most likely."""


def counted(folder: Path, path: str) -> Documents:
    """The documents in a folder, by their files' names without an ending. path: of the option, for messages. Raises InputError."""
    try:
        files = sorted(it for it in folder.iterdir() if it.is_file())
    except OSError as error:
        what, fix = f"{str(folder)!r} cannot be read: {error.strerror or error}", "isthmus fleet counts --out FOLDER makes one"
        raise InputError([Problem(path, what, "a folder with a document a device", fix)]) from error
    if len(files) > MOST_FILES:
        raise InputError([Problem(path, f"{str(folder)!r} has {len(files):,} files", f"{MOST_FILES:,} at most, one a device")])
    return documents({it.stem: _content(it) for it in files})


def _content(file: Path) -> bytes:
    """What is larger than a document may be is cut off, and so is none; what cannot be read is empty, and so is none either."""
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_OBJECT_BYTES + 1)
    except OSError:
        return b""
