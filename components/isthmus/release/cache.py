"""The releases that this machine keeps: content-addressed, checked on every read, safe to share between processes.

    entries/HEX/        one release (see `manifest`), and checksums.json, by which damage is noticed
    keys/KEY            the digest of the release that a compile key led to; below it the record of that compile, where it tried
                        or said something else than the one that made the release first
    locks/              one lock per key, so that two previews at the same time compile once
    deltas/             between releases as devices get them (see `kept_deltas`)
    groups/             what was learned of releases on examples of several views (see `isthmus.grouping`)
    work/               folders in the making; those of a process that died are swept

An entry is made in work/, flushed to disk, and renamed: it is there completely or not at all. Whatever fails the check
when it is read counts as absent, and the next compile replaces it.

A process that was given a release holds its entry until it ends (a shared lock on the folder), and no eviction takes it away
(see `cache_size`). The time at which the folder was changed says when it was last used.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from isthmus.digest import Digest, is_digest
from isthmus.errors import IntegrityError
from isthmus.folders import SHARED_CACHE_VARIABLE, cache_folder
from isthmus.release.hashing import FileRange, file_sha256, tree_hashes
from isthmus.release.manifest import MANIFEST_NAME, RECORD_NAME, Manifest, Record, Release

if TYPE_CHECKING:
    from isthmus.release.shared_cache import SharedCache

CHECKSUMS_NAME = "checksums.json"
# Entries that this process holds: the folder's descriptor, with the lock on it.
_holds: dict[Path, int] = {}
_holds_lock = threading.Lock()


def default_cache_directory() -> Path:
    """Where releases are kept: `releases` in the user's cache. Raises InputError where there is no place for one (see `folders`)."""
    return cache_folder() / "releases"


class ReleaseCache:
    """Releases by digest, and by the key of the compile that made them.

    Args:
        directory: made when something is first written; `default_cache_directory()` for the user's own.
        shared: a store that several machines share, asked before anything is compiled; None: what the environment names, if it does.
    """

    def __init__(self, directory: Path, *, shared: "SharedCache | None" = None) -> None:
        self.directory = directory
        self._shared = shared

    @property
    def shared(self) -> "SharedCache | None":
        """The shared cache. Raises InputError where the environment's setting is wrong."""
        if self._shared is None and os.environ.get(SHARED_CACHE_VARIABLE):
            from isthmus.release.shared_cache import SharedCache  # a warm preview does without

            self._shared = SharedCache.from_environment(os.environ)
        return self._shared

    def get(self, key: str) -> Release | None:
        """The release that this compile key led to; None where there is none, or it is damaged."""
        try:
            digest, _, told = self._key_path(key).read_text().partition("\n")
        except (OSError, ValueError):
            return None
        release = self.find(digest)
        if release is not None and told:
            with suppress(IntegrityError):
                release = replace(release, record=Record.from_bytes(told.encode()))
        return release

    def find(self, digest: str) -> Release | None:
        """The release of that digest, every file's size and content checked; None where there is none, or it is damaged."""
        return _find_entry(self.directory / "entries" / Digest(digest).hex, digest) if is_digest(digest) else None

    def lock(self, key: str) -> FileLock:
        """A lock (not yet taken) that whoever compiles for this key holds. It is free again when its holder's process ends."""
        path = self.directory / "locks" / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    @contextmanager
    def work_directory(self) -> Iterator[Path]:
        """An empty folder inside the cache, removed at the end. Also sweeps those that a killed process left."""
        work = self.directory / "work"
        work.mkdir(parents=True, exist_ok=True)
        folder = work / uuid.uuid4().hex
        # A lock, not the folder's age, says whether its owner lives: a slow compile is not swept.
        owner = FileLock(f"{folder}.lock")
        with self.lock("work"):
            _sweep(work)
            owner.acquire()
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(owner.lock_file).unlink(missing_ok=True)
            owner.release()

    def publish(self, directory: Path, key: str | None = None) -> Release:
        """Moves a complete release, made in a folder inside of a `work_directory()`, into the cache.

        A release of the same digest that is already there and sound stays, with its times: they are measured once. For this key its
        record says what was tried now, and why this was chosen: another recipe may lead to the same release.

        Raises:
            IntegrityError: a file is not what the release's own manifest says.
            OSError: the disk is full, say.
        """
        manifest = Manifest.from_bytes((directory / MANIFEST_NAME).read_bytes())
        own = Record.from_bytes((directory / RECORD_NAME).read_bytes())
        for file in manifest.files:
            if file_sha256(directory / file.path) != file.sha256:
                raise IntegrityError(f"{file.path} is not what the manifest says")
        _write_checksums(directory, [MANIFEST_NAME, RECORD_NAME, *(file.path for file in manifest.files)])
        _flush_tree(directory)

        entry = self.directory / "entries" / manifest.digest.hex
        entry.parent.mkdir(parents=True, exist_ok=True)
        with self.lock("publish"):
            if _read_entry(entry, manifest.digest) is None:
                if entry.exists():
                    entry.rename(directory.with_name("damaged"))
                directory.rename(entry)
                _flush(entry.parent)
            _hold(entry)  # as long as the lock is held: nobody evicts what nobody holds yet
        release = self.find(manifest.digest)
        if release is None:
            raise IntegrityError(f"release {manifest.digest} was damaged while it was written to {entry}")
        told = _told(release.record, own)
        if key is not None:
            self._point(key, manifest.digest if told == release.record else f"{manifest.digest}\n{told.to_bytes().decode()}")
        return replace(release, record=told)

    def _key_path(self, key: str) -> Path:
        if not re.fullmatch(r"[0-9a-zA-Z_-]+", key):
            raise ValueError(f"not a key: {key!r}")
        return self.directory / "keys" / key

    def _point(self, key: str, text: str) -> None:
        path = self._key_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _flush(path.parent)


def _told(first: Record, own: Record) -> Record:
    """The first record's times with what the compile at hand tried. Those of another kind of machine say nothing beside them; how sure
    answers are is no matter of machines, and earlier versions did not ask."""
    first = replace(first, confidences=own.confidences or first.confidences)
    return replace(first, candidates=own.candidates, reason=own.reason) if own.machine_class == first.machine_class else first


def _sweep(work: Path) -> None:
    for path in work.glob("*.lock"):
        lock = FileLock(path)
        with suppress(Timeout, OSError), lock.acquire(blocking=False):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
    for path in work.iterdir():
        if path.is_dir() and not path.with_suffix(".lock").exists():  # its owner was removing it
            shutil.rmtree(path, ignore_errors=True)


def _hold(entry: Path) -> bool:
    """Holds an entry for as long as this process lives. False where there is none."""
    with _holds_lock:
        while True:  # it may be evicted, or replaced, before the lock is granted
            try:
                there = os.stat(entry)
                if (held := _holds.get(entry)) is not None:
                    if os.path.samestat(os.fstat(held), there):
                        return True
                    os.close(_holds.pop(entry))
                descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                return False
            with suppress(OSError):  # a file system without locks: eviction gets none there either, and removes nothing
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            _holds[entry] = descriptor


def _find_entry(entry: Path, digest: str) -> Release | None:
    """The release in an entry, held and marked as used."""
    release = _read_entry(entry, digest) if _hold(entry) else None
    if release is not None:
        with suppress(OSError):  # a cache that may only be read
            os.utime(entry)
    return release


def _read_entry(entry: Path, digest: str) -> Release | None:
    try:
        data = (entry / MANIFEST_NAME).read_bytes()
        if Digest.of(data) != digest:
            return None
        manifest = Manifest.from_bytes(data)
        checksums = json.loads((entry / CHECKSUMS_NAME).read_bytes())
        names = [RECORD_NAME, *(file.path for file in manifest.files)]
        ranges = [FileRange.whole(entry / name) for name in names]
        sizes = {file.path: file.size_bytes for file in manifest.files}
        if any(sizes.get(name, found.size_bytes) != found.size_bytes for name, found in zip(names, ranges, strict=True)):
            return None
        if tree_hashes(ranges) != [checksums[name] for name in names]:
            return None
        return Release(entry, manifest, Record.from_bytes((entry / RECORD_NAME).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, IntegrityError):
        return None


def _write_checksums(directory: Path, names: list[str]) -> None:
    hashes = tree_hashes([FileRange.whole(directory / name) for name in names])
    (directory / CHECKSUMS_NAME).write_text(json.dumps(dict(zip(names, hashes, strict=True)), indent=1))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            _flush(Path(folder) / name)
        _flush(Path(folder))
