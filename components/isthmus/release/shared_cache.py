"""A cache that several machines share: a bucket that is asked before anything is compiled, and gets what was compiled.

In the bucket, under `{prefix}cache/`:

    releases/HEX/…             a whole release, with manifest.json and record.json; nobody reads it before something leads there
    keys/KEY                   what a compile key led to: {"digest": …, "record_sha256": …}
    digests/HEX                the same, for those who know the digest

`keys/` and `digests/` are written last, each only if it is not there yet: an upload that is interrupted leaves nothing that
can be read, and of two machines that compile the same at once the first one's times count for both.

Every file is checked against the manifest, the manifest against the digest, and the record against its hash. What a key leads
to is taken on trust: who may write to the bucket decides what is deployed, as who may write to the model's source does.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isthmus.digest import Digest, is_digest
from isthmus.errors import IntegrityError
from isthmus.folders import SHARED_CACHE_VARIABLE
from isthmus.release.hashing import file_sha256
from isthmus.release.located import located
from isthmus.release.manifest import MANIFEST_NAME, MAX_RECORD_BYTES, RECORD_NAME, Manifest, Record
from isthmus.release.names import release_folder
from isthmus.release.store import MissingObjectError, Store
from isthmus_agent.formats import digests
from isthmus_agent.formats.bundle import MANIFEST, MOST_BYTES

MAX_POINTER_BYTES = 4 << 10
_KEY = re.compile(r"[0-9a-zA-Z_-]+")


@dataclass(frozen=True)
class Pointer:
    """Where a key or a digest leads. record_sha256: in hex, of the record that the release has in this cache."""

    digest: str
    record_sha256: str

    def to_bytes(self) -> bytes:
        return json.dumps({"digest": self.digest, "record_sha256": self.record_sha256}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Pointer":
        """Raises IntegrityError where data is no pointer."""
        try:
            raw = json.loads(data)
            digest, record = raw["digest"], raw["record_sha256"]
            if not is_digest(digest) or not digests.DIGITS.fullmatch(record):
                raise ValueError("not hashes")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"not a pointer of a shared cache: {error}") from error
        return cls(digest, record)


@dataclass(frozen=True)
class Offered:
    """first: whether the key leads to this upload; another machine's was there before otherwise. record: that the digest has here."""

    first: bool
    record: bytes


class SharedCache:
    """Releases in a store, by compile key and by digest. Its methods block; none ever shows credentials.

    Args:
        prefix: what all keys start with: empty, or ending in "/".
    """

    def __init__(self, store: Store, prefix: str = "") -> None:
        self.store = store
        self._prefix = f"{prefix}cache/"

    def __repr__(self) -> str:
        return f"SharedCache({self.name})"

    @property
    def name(self) -> str:
        """For messages: where it is."""
        return f"{self.store.address.endpoint}/{self.store.bucket}/{self._prefix}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "SharedCache":
        """The cache that ISTHMUS_SHARED_CACHE names, with the credentials of variables beside it.

        Raises InputError with all that is wrong.
        """
        store, prefix = located(environment[SHARED_CACHE_VARIABLE], SHARED_CACHE_VARIABLE, SHARED_CACHE_VARIABLE, environment, "builds")
        return cls(store, prefix)

    def fetch(self, key: str, into: Path, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Downloads the release that a compile key led to into an empty folder. False where there is none.

        Args:
            stopped: asked before each file; True makes an end, by IntegrityError.

        Raises:
            IntegrityError: something is missing or not what it should be; the folder's content is worthless.
            StoreError: the store cannot be used.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        return self._fetch(f"keys/{key}", into, stopped)

    def fetch_digest(self, digest: str, into: Path, stopped: Callable[[], bool] = lambda: False) -> bool:
        """The same, by the release's digest."""
        return self._fetch(f"digests/{Digest(digest).hex}", into, stopped, digest)

    def offer(self, key: str, directory: Path, *, repair: bool = False, stopped: Callable[[], bool] = lambda: False) -> "Offered":
        """Uploads a complete release. What is there already is not sent again.

        Args:
            repair: what the key led to was found to be damaged: everything is written anew.

        Raises:
            IntegrityError: `stopped`, or a file is not what the manifest says.
            StoreError: the store cannot be used.
        """
        data = (directory / MANIFEST_NAME).read_bytes()
        manifest = Manifest.from_bytes(data)
        name = manifest.digest.hex
        folder = release_folder(self._prefix, manifest.digest)
        for file in manifest.files:
            _go_on(stopped)
            if file_sha256(directory / file.path) != file.sha256:
                raise IntegrityError(f"{file.path} is not what the manifest says")
            if repair or self.store.size_bytes(folder + file.path) != file.size_bytes:
                self.store.put(folder + file.path, directory / file.path)
        _go_on(stopped)
        self.store.put(folder + MANIFEST_NAME, data)
        record = self._offer_record(folder, (directory / RECORD_NAME).read_bytes(), repair=repair)
        pointer = Pointer(manifest.digest, hashlib.sha256(record).hexdigest()).to_bytes()
        self.store.put(f"{self._prefix}digests/{name}", pointer, only_new=not repair)
        first = self.store.put(f"{self._prefix}keys/{key}", pointer, only_new=not repair)
        return Offered(first, record)

    def _offer_record(self, folder: str, record: bytes, *, repair: bool) -> bytes:
        """Times are measured once: the first record stays."""
        if self.store.put(folder + RECORD_NAME, record, only_new=not repair):
            return record
        try:
            there = self.store.get(folder + RECORD_NAME, max_bytes=MAX_RECORD_BYTES)
            Record.from_bytes(there)
        except (IntegrityError, MissingObjectError):
            self.store.put(folder + RECORD_NAME, record)
            return record
        return there

    def _fetch(self, place: str, into: Path, stopped: Callable[[], bool], wanted: str = "") -> bool:
        try:
            pointer = Pointer.from_bytes(self.store.get(self._prefix + place, max_bytes=MAX_POINTER_BYTES))
        except MissingObjectError:
            return False
        if wanted and pointer.digest != wanted:
            raise IntegrityError(f"{place} leads to another release, {pointer.digest}")
        folder = release_folder(self._prefix, pointer.digest)
        try:
            data = self.store.get(folder + MANIFEST_NAME, max_bytes=MOST_BYTES[MANIFEST])
            if Digest.of(data) != pointer.digest:
                raise IntegrityError(f"the manifest of {pointer.digest} has another digest")
            manifest = Manifest.from_bytes(data)
            record = self.store.get(folder + RECORD_NAME, max_bytes=MAX_RECORD_BYTES)
            if hashlib.sha256(record).hexdigest() != pointer.record_sha256:
                raise IntegrityError(f"the record of {pointer.digest} is not the one that was written")
            for parent in sorted({(into / file.path).parent for file in manifest.files}):
                parent.mkdir(parents=True, exist_ok=True)  # all of them first: nothing makes folders anew once they are removed
            for file in manifest.files:
                _go_on(stopped)
                self.store.download(folder + file.path, into / file.path, size_bytes=file.size_bytes)
                if file_sha256(into / file.path) != file.sha256:
                    raise IntegrityError(f"{file.path} of {pointer.digest} is not what the manifest says")
        except MissingObjectError as error:
            raise IntegrityError(f"the release {pointer.digest} is not whole: {error}") from error
        (into / RECORD_NAME).write_bytes(record)
        (into / MANIFEST_NAME).write_bytes(data)
        return True


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise IntegrityError("given up")
