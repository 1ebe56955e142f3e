"""Signed edge bundles: what a device fetches, in the store and on disk.

In the store, under `{prefix}bundles/{digest in hex}/`:

    edge/model.tflite.zlib   the edge variant's files, at their paths in the release, deflated
    golden.json.zlib         golden vectors, deflated
    manifest.dsse.json       the release's manifest in a signed envelope; it goes up last and comes down first

On disk the same, inflated, so that a device can verify what it holds without the store.
"""

import os
import tempfile
from pathlib import Path

from isthmus.digest import Digest, is_digest
from isthmus.errors import IntegrityError
from isthmus.release import deflate, signing
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import EDGE, FileEntry, Manifest, Release
from isthmus.release.names import bundle_folder
from isthmus.release.store import MissingObjectError, Store

MANIFEST_TYPE = "application/vnd.isthmus.manifest+json"
ENVELOPE_NAME = "manifest.dsse.json"
MAX_ENVELOPE_BYTES = 4 << 20


def publish(store: Store, prefix: str, release: Release, private_pem: str) -> None:
    """Uploads a release's edge bundle. The envelope goes last: a bundle that has one is complete.

    Objects that are there already are written again: what stands under a name may have been changed, its size kept.
    """
    keys = _Keys(prefix, release.digest)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "packed"
        for file in edge_files(release.manifest):
            _check_file(release.path(file), file)
            deflate.pack(release.path(file), packed)
            store.put(keys.of_file(file), packed)
    store.put(keys.of(ENVELOPE_NAME), signing.sign(MANIFEST_TYPE, release.manifest.to_bytes(), private_pem))


def making_key(prefix: str, digest: str) -> str:
    """Where the resource that made a bundle leaves its mark; it goes with the bundle."""
    return _Keys(prefix, digest).of("making")


def remove(store: Store, prefix: str, digest: str) -> None:
    """Removes a bundle's objects, the envelope first, so that no device starts to fetch what is going away."""
    keys = _Keys(prefix, digest)
    store.delete([keys.of(ENVELOPE_NAME)])
    store.delete(store.list(keys.folder))


def fetch(store: Store, prefix: str, digest: str, public_pem: str, into: Path) -> Manifest:
    """Downloads a bundle into a folder (made where needed) and verifies it: signature, digest, each file's size and sha256.

    Every file is synced to disk; the folder's own entry is for the caller to sync. Raises IntegrityError where
    something does not match, StoreError where the store cannot be used; then the folder's content is worthless.
    """
    keys = _Keys(prefix, digest)
    try:
        envelope = store.get(keys.of(ENVELOPE_NAME), max_bytes=MAX_ENVELOPE_BYTES)
        manifest = _opened(envelope, digest, public_pem)
        for file in edge_files(manifest):
            path = into / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            packed = path.with_name(path.name + deflate.SUFFIX)
            store.download(keys.of_file(file), packed, size_bytes=deflate.largest_packed_bytes(file.size_bytes), at_most=True)
            deflate.unpack(packed, path, size_bytes=file.size_bytes, name=file.path)
            packed.unlink()
            _check_file(path, file)
    except MissingObjectError as error:
        # The envelope goes up last and is removed first: no bundle is ever seen half, unless somebody broke it.
        raise IntegrityError(f"the bundle {digest} is not whole: {error}") from error
    with (into / ENVELOPE_NAME).open("wb") as stream:
        stream.write(envelope)
        stream.flush()
        os.fsync(stream.fileno())
    return manifest


def verify(directory: Path, digest: str, public_pem: str) -> Manifest:
    """The manifest of a bundle on disk, after the same checks as in `fetch`. Raises IntegrityError."""
    try:
        envelope = (directory / ENVELOPE_NAME).read_bytes()
    except OSError as error:
        raise IntegrityError(f"{directory} holds no bundle ({type(error).__name__})") from error
    manifest = _opened(envelope, digest, public_pem)
    for file in edge_files(manifest):
        _check_file(directory / file.path, file)
    return manifest


def edge_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files of a release that go to a device. Raises IntegrityError where the release has no edge variant."""
    return (*manifest.variant(EDGE).files, manifest.golden)


def _opened(envelope: bytes, digest: str, public_pem: str) -> Manifest:
    payload = signing.verify(envelope, MANIFEST_TYPE, public_pem)
    found = Digest.of(payload)
    if found != digest:
        raise IntegrityError(f"wrong digest: the manifest's is {found}, wanted is {digest}")
    return Manifest.from_bytes(payload)


def _check_file(path: Path, file: FileEntry) -> None:
    try:
        size_bytes = path.stat().st_size
        sha256 = file_sha256(path)
    except OSError as error:
        raise IntegrityError(f"{file.path} cannot be read ({type(error).__name__})") from error
    if size_bytes != file.size_bytes or sha256 != file.sha256:
        raise IntegrityError(
            f"wrong content: {file.path} is not what the manifest names (sha256 {sha256[:12]}…, wanted {file.sha256[:12]}…)"
        )


class _Keys:
    """Keys of one bundle."""

    def __init__(self, prefix: str, digest: str) -> None:
        if not is_digest(digest):
            raise IntegrityError(f"not a release digest: {digest!r}")
        self.folder = bundle_folder(prefix, digest)

    def of(self, name: str) -> str:
        return self.folder + name

    def of_file(self, file: FileEntry) -> str:
        return self.of(file.path + deflate.SUFFIX)
