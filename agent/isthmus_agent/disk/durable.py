"""Files that are whole or not there: written durably, read without trust, removed whatever they are."""

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError

_NEW: Final = ".new"
_MAGIC: Final = b"isthmus 1 "
MOST_DOCUMENT_BYTES: Final = 64 << 10


def make_folder(folder: Path) -> None:
    """Makes a folder in place of whatever else is there. Raises OSError."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)


def write(file: Path, content: bytes) -> None:
    """Replaces a file: afterwards, also after a power cut, it is the old one or the new one, whole. Raises OSError."""
    new = file.with_name(file.name + _NEW)
    remove(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.is_dir() and not file.is_symlink():
            remove(file)
        os.replace(new, file)
    except BaseException:
        with suppress(OSError):
            remove(new)
        raise
    sync_folder(file.parent)


def write_document(file: Path, value: object) -> None:
    """Replaces a file by a JSON value with its checksum. Raises OSError."""
    content = numbers.dump(value)
    write(file, _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read(file: Path, most_bytes: int) -> bytes | None:
    """The content of a regular file. None where there is none, where it is something else or too large, or cannot be read."""
    try:
        with os.fdopen(open_regular(file), "rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError:
        return None
    return content if len(content) <= most_bytes else None


def read_document(file: Path, most_bytes: int = MOST_DOCUMENT_BYTES) -> object | None:
    """The value in a file of `write_document`. None where it is damaged or not there, or larger than that."""
    content = read(file, most_bytes)
    head, _, document = (content or b"").partition(b"\n")
    if head != _MAGIC + hashlib.sha256(document).hexdigest().encode():
        return None
    try:
        return numbers.load(document, file.name, most_bytes)
    except FormatError:
        return None


def open_regular(file: Path) -> int:
    """A descriptor for reading. Raises OSError for what is no regular file. It never waits for the other end of a pipe."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{file} is no regular file")
    return descriptor


def remove(path: Path) -> None:
    """Removes a path, whatever it is; a link itself and not what it leads to. Raises OSError where it stays."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def entries(folder: Path) -> list[Path]:
    """What is in a folder, in the order of names; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
