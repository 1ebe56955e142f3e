"""Brings contents into their slots: the effect Fetch, by a delta or whole, going on with what is there."""

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from isthmus_agent.core import events
from isthmus_agent.core.effects import Fetch
from isthmus_agent.core.events import Event
from isthmus_agent.disk import durable
from isthmus_agent.disk.opening import Disk
from isthmus_agent.disk.slots import digest_of
from isthmus_agent.formats import bundle, delta, digests
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.sealed_contents import ClosedError, check_key, opened
from isthmus_agent.manager.downloads import Signed, download, is_whole, url_of
from isthmus_agent.manager.failures import DeviceFailure, RepositoryFailure, UntrustedFailure, disk_reason, reason_of
from isthmus_agent.manager.transport import Patience
from isthmus_agent.manager.way import Way

SPARE_BYTES = 1 << 20
"""What is left free on the disk in any case: marks and reports are written too."""


class Fetcher:
    """Fetches one content at a time, in the thread that calls `fetch`. The other methods are for any thread."""

    def __init__(
        self,
        disk: Disk,
        way: Way,
        targets_url: str,
        tell: Callable[[Event], None],
        patience: Patience | None = None,
        *,
        content_key: bytes | None = None,
    ) -> None:
        self._disk, self._way, self._targets_url, self._tell = disk, way, targets_url, tell
        self._patience, self._content_key = patience or Patience(), content_key
        self._lock = threading.Lock()
        self._wanted: str | None = None
        self._progress: tuple[Path, int] | None = None

    def want(self, digest: str) -> None:
        """Says that a call of `fetch` for this content comes, and is not given up."""
        with self._lock:
            self._wanted = digest

    def give_up(self, digest: str) -> None:
        """The effect Cancel, also of a call that is still to come."""
        with self._lock:
            if self._wanted == digest:
                self._wanted, self._way.is_given_up = None, True

    def fetch(self, wish: Fetch, number: int, targets: Mapping[str, Signed]) -> None:
        """Answers the effect. number: of the assignment that the content came with."""
        digest = wish.variant.digest
        with self._lock:
            self._way.is_given_up = digest != self._wanted
        try:
            event: Event = self._fetched(wish, number, targets)
        except RepositoryFailure as failure:
            event = events.FetchFailed(digest, reason_of(failure), str(failure))
        except ClosedError as error:
            event = events.FetchFailed(digest, Reason.CONTENT_KEY, str(error))
        except FormatError as error:
            event = events.FetchFailed(digest, Reason.BUNDLE_INVALID, str(error))
        except OSError as error:
            event = events.FetchFailed(digest, disk_reason(error), f"the disk: {error.strerror or error}")
        except MemoryError:
            event = events.FetchFailed(digest, Reason.OUT_OF_MEMORY, "not enough memory to unpack it")
        except Exception as error:  # nothing that a file makes of this program is the release's fault unless it is known to be
            event = events.FetchFailed(digest, Reason.DISK_FAULT, f"{type(error).__name__}: {error}")
        self._progress = None
        self._tell(event)

    @property
    def progress(self) -> tuple[int, int] | None:
        """The bytes that are there, and how many there will be; None while nothing is fetched."""
        progress = self._progress
        return (self._disk.parts.held_bytes(progress[0].name), progress[1]) if progress else None

    def _fetched(self, wish: Fetch, number: int, targets: Mapping[str, Signed]) -> Event:
        digest, slots = wish.variant.digest, self._disk.slots
        if digest_of(slots.path(digest)) == digest:
            return events.Fetched(digest)
        best = min(wish.deltas, key=lambda it: it.bytes, default=None)
        if best is not None and best.bytes < wish.variant.bytes and best.path in targets:
            try:
                check_key(best.key, self._content_key)
                self._from_delta(best, targets[best.path], number)
            except (ClosedError, FormatError) as error:
                return events.FetchFailed(digest, Reason.DELTA_UNUSABLE, str(error))
        elif wish.variant.bundle in targets:
            check_key(wish.variant.key, self._content_key)  # before it is fetched in vain
            self._whole(wish.variant, targets[wish.variant.bundle], number)
        else:
            raise UntrustedFailure(f"the fleet's role has no {wish.variant.bundle!r}")
        return events.Fetched(digest)

    def _whole(self, wish: Variant, target: Signed, number: int) -> None:
        digest = wish.digest
        packed = self._download(digest, target)
        try:
            with packed.open("rb") as stream:
                plain = opened(stream, wish.key, self._content_key)
                self._make(digest, number, lambda new: bundle.unpack(plain, new, digest=digest))
        except (ClosedError, FormatError):
            _check_still_whole(packed, target)
            durable.remove(packed)
            raise
        durable.remove(packed)

    def _from_delta(self, wish: Delta, target: Signed, number: int) -> None:
        packed = self._download(wish.to, target)
        try:
            with packed.open("rb") as stream, os.fdopen(durable.open_regular(self._disk.slots.path(wish.from_)), "rb") as old:
                most, plain = bundle.MOST_PLAIN_BYTES, opened(stream, wish.key, self._content_key)
                self._make(wish.to, number, lambda new: delta.apply(old, plain, new, digest=wish.to, most_bytes=most))
        finally:
            with suppress(OSError):
                durable.remove(packed)

    def _download(self, digest: str, target: Signed) -> Path:
        """A target's file, verified. Raises RepositoryFailure, OSError."""
        # Named by the content, for Sweep, and by what was signed: another file of the same path does not go on from this one.
        part = self._disk.parts.path(f"{digests.digits_of(digest)}.{target.hashes['sha256'][:16]}")
        durable.make_folder(part.parent)
        done = self._disk.parts.held_bytes(part.name)
        if not done:
            durable.remove(part)  # whatever it is
        self._check_room(part.parent, target.length - done)
        self._progress = part, target.length
        download(target, url_of(target, self._targets_url), part, self._way, self._patience)
        return part

    def _make(self, digest: str, number: int, write: Callable[[BinaryIO], None]) -> None:
        """Has the plain form written, and puts it into its slot."""
        name = f"{digests.digits_of(digest)}.plain"
        try:
            with self._disk.parts.going_on(name, 0) as new:
                write(new)
            plain = self._disk.parts.path(name)
            with plain.open("rb") as stream:
                bundle.parts(stream)
            if not self._disk.slots.put(plain, digest, number):
                raise DeviceFailure("the disk does not give back what was written")
        finally:
            with suppress(OSError):
                durable.remove(self._disk.parts.path(name))

    def _check_room(self, folder: Path, needed_bytes: int) -> None:
        if shutil.disk_usage(folder).free < needed_bytes + SPARE_BYTES:
            raise DeviceFailure(f"{needed_bytes} bytes do not fit on the disk", Reason.DISK_FULL)


def _check_still_whole(packed: Path, target: Signed) -> None:
    """Whether it was the disk and not the release. Raises DeviceFailure."""
    if not is_whole(target, packed):
        durable.remove(packed)
        raise DeviceFailure("the disk does not give back what was written")
