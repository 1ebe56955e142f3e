"""What is in force in a repository, read as a device reads it: every byte checked from the operator's own root on.

Numbers come from here alone, so that nothing that somebody else put into the store can change the next one. Expiry is not looked at:
whoever publishes mends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from isthmus.errors import IntegrityError, IsthmusError
from isthmus.limits import MOST_METADATA_VERSION
from isthmus.release.store import MissingObjectError
from isthmus.repository.objects import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Place

MOST_METADATA_BYTES = 16 << 20
RECOVER = "see what is wrong with `isthmus fleet recover`"


@dataclass(frozen=True)
class Current:
    """A repository's metadata in force. tag: of the timestamp in the store. delegated: by role."""

    tag: str
    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    delegated: Mapping[str, Metadata[Targets]]

    def version_of(self, role: str) -> int:
        """Of a role as the snapshot has it; 0 where it has none."""
        meta = self.snapshot.signed.meta.get(f"{role}.json")
        return meta.version if meta else 0


def read(place: Place, anchor: bytes) -> Current:
    """What is in force. Raises IntegrityError where something is missing or not what was signed, StoreError where the store fails."""
    root = read_root(place, anchor)
    tag = place.objects.tag(place.timestamp_key)  # before what it is the tag of: a later one is then seen as such
    timestamp = read_timestamp(place, root)
    snapshot = read_snapshot(place, root, timestamp)
    targets = read_role(place, TARGETS, snapshot, root.signed)
    names = targets.signed.delegations.roles if targets.signed.delegations and targets.signed.delegations.roles else {}
    delegated = {name: read_role(place, name, snapshot, targets.signed) for name in names if f"{name}.json" in snapshot.signed.meta}
    return Current(tag, root, timestamp, snapshot, targets, delegated)


def check_not_expired(current: Current, now: datetime | None = None) -> None:
    """Raises IsthmusError where devices would follow nothing that is signed now, since what the offline keys signed has expired."""
    now = now or datetime.now(UTC)
    expired = {role: expires for role, expires in expiries(current).items() if role in {ROOT, TARGETS} and expires <= now}
    if expired:
        told = " and ".join(f"{role} has expired on {expires:%Y-%m-%d}" for role, expires in expired.items())
        raise IsthmusError(f"{told}: no device follows anything newer. Fix: `isthmus fleet refresh` with the offline keys, then this again")


def expiries(current: Current) -> dict[str, datetime]:
    """When each role's metadata expires."""
    tops: dict[str, Any] = {"root": current.root, "targets": current.targets, "snapshot": current.snapshot, "timestamp": current.timestamp}
    return {role: it.signed.expires for role, it in {**tops, **current.delegated}.items()}


def read_root(place: Place, anchor: bytes) -> Metadata[Root]:
    """The last root to which a chain of signatures leads from the anchor."""
    root = parsed(Root, anchor, "the operator's root.json")
    verify(root.signed, ROOT, root, "the operator's root.json")
    while True:
        key = place.metadata_key(ROOT, root.signed.version + 1)
        try:
            data = place.objects.get(key, max_bytes=MOST_METADATA_BYTES)
        except MissingObjectError:
            return root
        root = next_root(root, data, key)


def next_root(root: Metadata[Root], data: bytes, name: str) -> Metadata[Root]:
    """The root that follows, signed by the keys of both. Raises IntegrityError."""
    found = parsed(Root, data, name)
    verify(root.signed, ROOT, found, name)
    verify(found.signed, ROOT, found, name)
    if found.signed.version != root.signed.version + 1:
        raise IntegrityError(f"{name} has version {found.signed.version} inside; {RECOVER}")
    return found


def read_timestamp(place: Place, root: Metadata[Root]) -> Metadata[Timestamp]:
    key = place.timestamp_key
    timestamp = parsed(Timestamp, _bytes(place, key), key)
    verify(root.signed, TIMESTAMP, timestamp, key)
    _bounded(timestamp.signed.version, key)
    return timestamp


def read_snapshot(place: Place, root: Metadata[Root], timestamp: Metadata[Timestamp]) -> Metadata[Snapshot]:
    meta = timestamp.signed.snapshot_meta
    key = place.metadata_key(SNAPSHOT, meta.version)
    data = _bytes(place, key)
    snapshot = parsed(Snapshot, data, key)
    verify(root.signed, SNAPSHOT, snapshot, key)
    _same(meta, snapshot.signed.version, data, key)
    return snapshot


def read_role(place: Place, role: str, snapshot: Metadata[Snapshot], above: Root | Targets) -> Metadata[Targets]:
    """above: whoever says which keys the role has."""
    if (meta := snapshot.signed.meta.get(f"{role}.json")) is None:
        raise IntegrityError(f"the snapshot knows no role {role}; {RECOVER}")
    key = place.metadata_key(role, meta.version)
    data = _bytes(place, key)
    found = parsed(Targets, data, key)
    verify(above, role, found, key)
    _same(meta, found.signed.version, data, key)
    return found


def parsed(kind: type[Any], data: bytes, name: str) -> Metadata[Any]:
    """Metadata of a kind. Raises IntegrityError where it is none."""
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except RepositoryError as error:
        raise IntegrityError(f"{name} is no metadata, or torn ({error}); {RECOVER}") from error
    if not isinstance(metadata.signed, kind):
        raise IntegrityError(f"{name} is metadata of a {metadata.signed.type}; {RECOVER}")
    return metadata


def verify(above: Root | Targets, role: str, metadata: Metadata[Any], name: str) -> None:
    """Raises IntegrityError where the role's keys did not sign it."""
    try:
        above.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise IntegrityError(f"{name} is not signed by the keys of {role}: {error}; {RECOVER}") from error


def _bytes(place: Place, key: str) -> bytes:
    try:
        return place.objects.get(key, max_bytes=MOST_METADATA_BYTES)
    except MissingObjectError as error:
        raise IntegrityError(f"{error}; {RECOVER}") from error


def _same(meta: Any, version: int, data: bytes, name: str) -> None:
    if meta.version != version:
        raise IntegrityError(f"{name} has version {version} inside, and {meta.version} is in force; {RECOVER}")
    _bounded(version, name)
    try:
        meta.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise IntegrityError(f"{name} is not the one that is in force ({error}); {RECOVER}") from error


def _bounded(version: int, name: str) -> None:
    if version > MOST_METADATA_VERSION:
        raise IntegrityError(f"{name} has version {version}: nobody counts so far who means well; {RECOVER}")
