"""Releases in a store, from which servers of another machine fetch them, and other environments take them over.

In the store, under `{prefix}releases/{digest in hex}/`:

    serving/VERSION/saved_model.pb …   the serving variant's files, at their paths in the release
    golden.json                        golden vectors
    record.json                        measured times; not covered by the digest
    manifest.json                      goes up last and comes down first: without it there is no release

Objects lie under the digest, so what is there is either right, or damaged and uploaded again.
"""

import os
import tempfile
from pathlib import Path

from isthmus.digest import Digest, is_digest
from isthmus.errors import IntegrityError
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import MANIFEST_NAME, MAX_RECORD_BYTES, RECORD_NAME, SERVING, FileEntry, Manifest, Record, Release
from isthmus.release.names import release_folder
from isthmus.release.store import MissingObjectError, Store
from isthmus_agent.formats.bundle import MANIFEST, MOST_BYTES


def publish(store: Store, prefix: str, release: Release) -> tuple[str, ...]:
    """Uploads a release's serving variant. What is there already with the right content is left as it is.

    Returns the keys that were written. Raises IntegrityError where a file of the release is not what its manifest says
    (then no manifest goes up), StoreError where the store cannot be used.
    """
    folder = folder_key(prefix, release.digest)
    written = []
    for file in serving_files(release.manifest):
        if _differs(release.path(file), file):
            raise IntegrityError(f"wrong content: {file.path} is not what the manifest names")
        if not _is_sound(store, folder, file):
            store.put(folder + file.path, release.path(file))
            written.append(folder + file.path)
    # Times differ from one honest compile to the next: a record that can be read stays, as it does in the cache.
    if _record(store, folder) is None:
        store.put(folder + RECORD_NAME, release.record.to_bytes())
        written.append(folder + RECORD_NAME)
    if _manifest(store, folder, release.digest) is None:
        store.put(folder + MANIFEST_NAME, release.manifest.to_bytes())
        written.append(folder + MANIFEST_NAME)
    return tuple(written)


def is_sound(store: Store, prefix: str, digest: str) -> bool:
    """Whether the release could be fetched: complete, and every object's content right. Raises StoreError."""
    folder = folder_key(prefix, digest)
    manifest = _manifest(store, folder, digest)
    if manifest is None or _record(store, folder) is None:
        return False
    return all(_is_sound(store, folder, file) for file in serving_files(manifest))


def remove(store: Store, prefix: str, digest: str) -> None:
    """Removes a release's objects, the manifest first, so that no server starts to fetch what is going away."""
    folder = folder_key(prefix, digest)
    store.delete([folder + MANIFEST_NAME])
    store.delete(store.list(folder))


def fetch(store: Store, prefix: str, digest: str, into: Path) -> Release:
    """Downloads a release's serving variant, golden vectors and record into a folder (made where needed), and verifies
    all that the digest covers.

    The manifest is written last, so that a folder with one is complete. What other variants the manifest names is not
    there. Raises IntegrityError where something is missing or does not match, StoreError where the store cannot be used;
    then the folder's content is worthless.
    """
    folder = folder_key(prefix, digest)
    try:
        data = store.get(folder + MANIFEST_NAME, max_bytes=MOST_BYTES[MANIFEST])
        manifest = _opened(data, digest)
        for file in serving_files(manifest):
            path = into / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download(folder + file.path, path, size_bytes=file.size_bytes)
            if _differs(path, file):
                raise IntegrityError(f"wrong content: {folder + file.path} is not what the manifest names")
        record = store.get(folder + RECORD_NAME, max_bytes=MAX_RECORD_BYTES)
    except MissingObjectError as error:
        raise IntegrityError(f"the release {digest} is not whole: {error}") from error
    release = Release(into, manifest, Record.from_bytes(record))
    _write(into / RECORD_NAME, record)
    _write(into / MANIFEST_NAME, data)
    return release


def folder_key(prefix: str, digest: str) -> str:
    """What all keys of a release start with. Raises IntegrityError where digest is none."""
    if not is_digest(digest):
        raise IntegrityError(f"not a release digest: {digest!r}")
    return release_folder(prefix, digest)


def making_key(prefix: str, digest: str) -> str:
    """Where the resource that published a release leaves its mark; it goes with the release."""
    return folder_key(prefix, digest) + "making"


def serving_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files of a release that a server needs. Raises IntegrityError where the release has no serving variant."""
    return (*manifest.variant(SERVING).files, manifest.golden)


def _opened(data: bytes, digest: str) -> Manifest:
    found = Digest.of(data)
    if found != digest:
        raise IntegrityError(f"wrong digest: the manifest's is {found}, wanted is {digest}")
    return Manifest.from_bytes(data)


def _manifest(store: Store, folder: str, digest: str) -> Manifest | None:
    """The manifest in the store; None where it is missing or wrong."""
    try:
        return _opened(store.get(folder + MANIFEST_NAME, max_bytes=MOST_BYTES[MANIFEST]), digest)
    except (MissingObjectError, IntegrityError):
        return None


def _record(store: Store, folder: str) -> Record | None:
    try:
        return Record.from_bytes(store.get(folder + RECORD_NAME, max_bytes=MAX_RECORD_BYTES))
    except (MissingObjectError, IntegrityError):
        return None


def _is_sound(store: Store, folder: str, file: FileEntry) -> bool:
    """Whether the object is there with the right content. One file at a time is on this disk meanwhile."""
    if store.size_bytes(folder + file.path) != file.size_bytes:
        return False
    with tempfile.TemporaryDirectory(prefix="isthmus-") as temporary:
        path = Path(temporary) / "object"
        try:
            store.download(folder + file.path, path, size_bytes=file.size_bytes)
        except (MissingObjectError, IntegrityError):
            return False
        return not _differs(path, file)


def _differs(path: Path, file: FileEntry) -> bool:
    try:
        return path.stat().st_size != file.size_bytes or file_sha256(path) != file.sha256
    except OSError:
        return True


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
