"""What a device keeps on disk, so that no crash or power cut leaves it without a whole release.

    state_directory/
      slots/HEX/            one verified bundle; complete from the moment it has this name
      slots/.incoming-…     a bundle on its way; never looked at after a restart
      current -> slots/HEX  what is served; swapped by rename
      previous -> slots/HEX what was served before
      seen.json             the highest attempt that was seen, for the trusted key

Each step is made durable before the next relies on it: write, sync the file, rename, sync the folder.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus.digest import Digest

CURRENT = "current"
PREVIOUS = "previous"
_INCOMING = ".incoming-"


@dataclass(frozen=True)
class Seen:
    """The newest target that the trusted key has signed, as far as this device knows. attempt: 0 before the first."""

    attempt: int = 0
    digest: str = ""


class Slots:
    """The state directory of one agent. key_id: of the trusted key; another key starts its own count of attempts."""

    def __init__(self, directory: Path, key_id: str) -> None:
        self._directory = directory
        self._slots = directory / "slots"
        self._key_id = key_id
        self._slots.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._slots.glob(f"{_INCOMING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def path(self, digest: str) -> Path:
        """Where the bundle of that digest is, or would be."""
        return self._slots / Digest(digest).hex

    def digest(self, link: str) -> str | None:
        """The digest that CURRENT or PREVIOUS points to."""
        try:
            return Digest.from_hex(Path(os.readlink(self._directory / link)).name)
        except (OSError, ValueError):
            return None

    @contextmanager
    def incoming(self, digest: str) -> Iterator[Path]:
        """A folder to fetch and test a bundle in. Left without an error it becomes the digest's slot, else it is removed."""
        folder = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._slots))
        try:
            yield folder
            for root, _, _ in os.walk(folder):
                sync_directory(Path(root))
            slot = self.path(digest)
            if slot.exists():  # one that did not verify
                slot.rename(folder.with_name(f"{folder.name}-damaged"))
            folder.rename(slot)
            sync_directory(self._slots)
        finally:
            for left in self._slots.glob(f"{folder.name}*"):
                shutil.rmtree(left, ignore_errors=True)

    def switch(self, digest: str) -> None:
        """Makes a slot the current one, for this and every later start, and removes what is neither current nor previous."""
        before = self.digest(CURRENT)
        if before not in {None, digest}:
            self._point(PREVIOUS, self._directory / CURRENT)
        if before != digest:
            self._point(CURRENT, self.path(digest))
        keep = {self.path(kept).name for link in (CURRENT, PREVIOUS) if (kept := self.digest(link))}
        for slot in self._slots.iterdir():
            if slot.name not in keep:
                shutil.rmtree(slot, ignore_errors=True)

    def _point(self, link: str, slot: Path) -> None:
        target = os.path.relpath(slot.resolve(), self._directory.resolve())
        temporary = self._directory / f".{link}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(self._directory / link)
        sync_directory(self._directory)

    @property
    def seen(self) -> Seen:
        """What was remembered last for the trusted key."""
        try:
            raw = json.loads((self._directory / "seen.json").read_bytes())
            if raw["key"] == self._key_id:
                return Seen(int(raw["attempt"]), str(raw["digest"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Seen()

    def remember(self, seen: Seen) -> None:
        """Writes down the newest target before anything is done about it."""
        content = json.dumps({"key": self._key_id, "attempt": seen.attempt, "digest": seen.digest}).encode()
        write_durably(self._directory / "seen.json", content)


def write_durably(path: Path, content: bytes) -> None:
    """Replaces a file by content: afterwards, also after a power cut, it is the old one or the new one, whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
