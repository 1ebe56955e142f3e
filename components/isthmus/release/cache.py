"""The releases that this machine keeps: content-addressed, checked on every read, safe to share between processes.

    entries/HEX/        one release (see `manifest`), and checksums.json, by which damage is noticed
    keys/KEY            the digest of the release that a compile key led to
    locks/              one lock per key, so that two previews at the same time compile once
    work/               folders in the making; those of a process that died are swept

An entry is made in work/, flushed to disk, and renamed: it is there completely or not at all. Whatever fails the check
when it is read counts as absent, and the next compile replaces it.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from isthmus.errors import IntegrityError
from isthmus.release.hashing import FileRange, file_sha256, tree_hashes
from isthmus.release.manifest import MANIFEST_NAME, RECORD_NAME, Manifest, Record, Release

CACHE_VARIABLE = "ISTHMUS_CACHE_DIR"
CHECKSUMS_NAME = "checksums.json"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def default_cache_directory() -> Path:
    """Where releases are kept: `releases` in the folder that ISTHMUS_CACHE_DIR names, or in `.cache` of the working directory."""
    return Path(os.environ.get(CACHE_VARIABLE) or ".cache").absolute() / "releases"


class ReleaseCache:
    """Releases by digest, and by the key of the compile that made them.

    Args:
        directory: made when something is first written; `default_cache_directory()` for a project's own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, key: str) -> Release | None:
        """The release that this compile key led to; None where there is none, or it is damaged."""
        try:
            digest = self._key_path(key).read_text()
        except (OSError, ValueError):
            return None
        return self.find(digest)

    def find(self, digest: str) -> Release | None:
        """The release of that digest, every file's size and content checked; None where there is none, or it is damaged."""
        match = _DIGEST.fullmatch(digest)
        return _read_entry(self.directory / "entries" / match[1], digest) if match else None

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

        A release of the same digest that is already there and sound stays, with its record: times are measured once.

        Raises:
            IntegrityError: a file is not what the release's own manifest says.
            OSError: the disk is full, say.
        """
        manifest = Manifest.from_bytes((directory / MANIFEST_NAME).read_bytes())
        Record.from_bytes((directory / RECORD_NAME).read_bytes())
        for file in manifest.files:
            if file_sha256(directory / file.path) != file.sha256:
                raise IntegrityError(f"{file.path} is not what the manifest says")
        _write_checksums(directory, [MANIFEST_NAME, RECORD_NAME, *(file.path for file in manifest.files)])
        _flush_tree(directory)

        entry = self.directory / "entries" / manifest.digest.removeprefix("sha256:")
        entry.parent.mkdir(parents=True, exist_ok=True)
        with self.lock("publish"):
            if _read_entry(entry, manifest.digest) is None:
                if entry.exists():
                    entry.rename(directory.with_name("damaged"))
                directory.rename(entry)
                _flush(entry.parent)
        if key is not None:
            self._point(key, manifest.digest)
        release = self.find(manifest.digest)
        if release is None:
            raise IntegrityError(f"release {manifest.digest} was damaged while it was written to {entry}")
        return release

    def _key_path(self, key: str) -> Path:
        if not re.fullmatch(r"[0-9a-zA-Z_-]+", key):
            raise ValueError(f"not a key: {key!r}")
        return self.directory / "keys" / key

    def _point(self, key: str, digest: str) -> None:
        path = self._key_path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(digest)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _flush(path.parent)


def _sweep(work: Path) -> None:
    for path in work.glob("*.lock"):
        lock = FileLock(path)
        with suppress(Timeout, OSError), lock.acquire(blocking=False):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)


def _read_entry(entry: Path, digest: str) -> Release | None:
    try:
        data = (entry / MANIFEST_NAME).read_bytes()
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
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
