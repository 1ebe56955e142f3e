"""Contents on disk, each one file that is named by its sha256, and downloads on their way there."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from isthmus_agent.disk import durable
from isthmus_agent.formats import digests, numbers
from isthmus_agent.formats.numbers import FormatError

_PIECE_BYTES: Final = 1 << 20
_NOTE: Final = ".note"
_WITNESS: Final = "number"
_PART_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def digest_of(file: Path) -> str | None:
    """The digest of a regular file's content. None where it is none, or cannot be read to its end."""
    found = hashlib.sha256()
    try:
        with os.fdopen(durable.open_regular(file), "rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                found.update(piece)
    except OSError:
        return None
    return digests.named(found.hexdigest())


def _number(file: Path) -> int | None:
    try:
        return numbers.integer(numbers.fields(durable.read_document(file), file.name, ("number",))["number"], "number")
    except FormatError:
        return None


class Slots:
    """The contents that a device has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where a content is, or would be."""
        return self._folder / digests.digits_of(numbers.digest(digest, "digest"))

    def held(self) -> frozenset[str]:
        """The contents whose files are whole, each read to its end. What is no content is removed, if it can be. Never raises."""
        found = set()
        for entry in durable.entries(self._folder):
            digest = digest_of(entry) if digests.DIGITS.fullmatch(entry.name) else None
            if digest == digests.named(entry.name):
                found.add(digest)
            elif entry.name != _WITNESS and not (entry.name.endswith(_NOTE) and digests.DIGITS.fullmatch(entry.name.removesuffix(_NOTE))):
                with suppress(OSError):
                    durable.remove(entry)
        return frozenset(found)

    def numbers(self) -> dict[str, int]:
        """Which assignment each content came with, as far as that is known; also of contents that are gone. Never raises."""
        found = {}
        for entry in durable.entries(self._folder):
            name = entry.name.removesuffix(_NOTE)
            number = _number(entry) if entry.name.endswith(_NOTE) and digests.DIGITS.fullmatch(name) else None
            if number is not None:
                found[digests.named(name)] = number
        return found

    @property
    def witnessed(self) -> int:
        """The highest number that was seen, apart from the marks; 0 where that is not known. Never raises."""
        return _number(self._folder / _WITNESS) or 0

    def witness(self, number: int) -> None:
        """Notes a number beside the marks, if it is higher. Raises OSError."""
        if number > self.witnessed:
            durable.make_folder(self._folder)
            durable.write_document(self._folder / _WITNESS, {"number": number})

    def put(self, file: Path, digest: str, number: int) -> bool:
        """Makes a file the slot of a content. False where it is not that content: then it is left where it is. Raises OSError.

        file: on the same file system; nobody else writes to it.
        """
        slot = self.path(digest)
        if digest_of(file) != digest:
            return False
        descriptor = durable.open_regular(file)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.make_folder(self._folder)
        durable.write_document(slot.with_name(slot.name + _NOTE), {"number": number})
        if slot.is_dir() and not slot.is_symlink():
            durable.remove(slot)
        os.replace(file, slot)
        durable.sync_folder(self._folder)
        return True

    def sweep(self, keep: Collection[str]) -> None:
        """Removes all contents but these. What cannot be removed stays. Never raises."""
        names = {self.path(digest).name for digest in keep}
        for entry in durable.entries(self._folder):
            if entry.name.removesuffix(_NOTE) not in {*names, _WITNESS}:
                with suppress(OSError):
                    durable.remove(entry)


class Parts:
    """What there is of downloads. Nothing of it is trusted: it is the whole that is verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where a part is, or would be. Raises FormatError for a name that could lead elsewhere."""
        if not _PART_NAME.fullmatch(name):
            raise FormatError("", f"found {numbers.shown(name)}, expected the name of a part")
        return self._folder / name

    def held_bytes(self, name: str) -> int:
        """How much there is. Never raises OSError."""
        try:
            descriptor = durable.open_regular(self.path(name))
        except OSError:
            return 0
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    @contextmanager
    def going_on(self, name: str, at: int) -> Iterator[BinaryIO]:
        """A stream that writes from there on; what was behind it is cut off, and what was written is durable at the end. Raises OSError."""
        durable.make_folder(self._folder)
        file = self.path(name)
        if at == 0 or self.held_bytes(name) < at:
            durable.remove(file)
            at = 0
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.truncate(at)
            stream.seek(at)
            try:
                yield stream
            finally:
                stream.flush()
                os.fsync(stream.fileno())
        durable.sync_folder(self._folder)

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Removes all parts but those of these contents: what stands before the first dot of a part's name is a content's digest.

        What cannot be removed stays. Never raises.
        """
        names = {digests.digits_of(digest) for digest in keep}
        for entry in durable.entries(self._folder):
            if entry.name.partition(".")[0] not in names:
                with suppress(OSError):
                    durable.remove(entry)
