"""Ends every bad state of a repository without a visit to a device: files that are missing, torn or foreign, versions that somebody
counted up, rubbish, half a publishing.

What is validly signed is kept. Where a timestamp or a snapshot is lost, nobody knows which versions devices have seen: then the keys of
both are replaced, upon which devices forget them, as TUF has it. Where what a fleet was told is lost, the fleet begins a new epoch; it is
paused, and told again by the next publishing. Where a roster is lost, it comes back from an earlier one or a copy (`lost_rosters`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from isthmus.errors import IntegrityError
from isthmus.limits import MOST_METADATA_VERSION
from isthmus.release.store import MissingObjectError
from isthmus.repository.adopting import adopt, readable
from isthmus.repository.ceremony import next_key, role_key
from isthmus.repository.keyring import Keyring
from isthmus.repository.lost_rosters import check_copy, content_of, restored
from isthmus.repository.objects import ROOT, ROSTER, SNAPSHOT, TARGETS, TIMESTAMP, Place
from isthmus.repository.publish import assignment_in
from isthmus.repository.reading import (
    MOST_METADATA_BYTES,
    Current,
    next_root,
    parsed,
    read,
    read_role,
    read_snapshot,
    read_timestamp,
    verify,
)
from isthmus.repository.roles import delegated_of, meta_of, snapshot_of, targets_of, timestamp_of

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Recovered:
    """done: what was mended, in words; empty where all was well. missing: target paths of files that no signature can bring back."""

    done: tuple[str, ...]
    missing: tuple[str, ...]
    keyring: Keyring


def recover(place: Place, keyring: Keyring, *, rosters: Mapping[str, bytes] | None = None, now: datetime | None = None) -> Recovered:
    """rosters: copies by fleet, for those that are lost; InputError where one is none.

    Raises NotEnoughKeysError where keys are needed that are not here, RacedError where somebody publishes in the same moment.
    """
    now = now or datetime.now(UTC)
    done: list[str] = []
    for fleet, content in (rosters or {}).items():
        check_copy(fleet, content)
    root = _roots(place, keyring, done)
    tag = place.objects.tag(place.timestamp_key)
    timestamp = _tried(done, read_timestamp, place, root)
    snapshot = _tried(done, read_snapshot, place, root, timestamp) if timestamp else None
    if timestamp is None or snapshot is None:
        for role in (SNAPSHOT, TIMESTAMP):
            keys = keyring.roles[role]
            made = tuple(role_key(next_key(keyring, role, index), keyring.folder) for index in range(len(keys.keys)))
            keyring = keyring.with_role(role, replace(keys, keys=made))
            done.append(f"the keys of {role} are replaced")
    lost: set[str] = set()
    targets = _tried(done, read_role, place, TARGETS, snapshot, root.signed) if snapshot else None
    if targets is None:
        lost.add(TARGETS)
        targets = _newest(place, TARGETS, root.signed) or targets_of(keyring, _version(snapshot, TARGETS), now)
    wanted = targets_of(keyring, 1, now).signed
    listed = [*_editions(place, ROSTER, targets.signed if targets.signatures else wanted)]  # before they are removed
    delegated: dict[str, Metadata[Targets]] = {}
    for role in keyring.delegated:
        if snapshot and f"{role}.json" not in snapshot.signed.meta:
            continue
        above = targets.signed if targets.signatures else wanted
        found = _tried(done, _read_told, place, role, snapshot, above) if snapshot else None
        if found is None:
            newest = _newest(place, role, above)
            if role in keyring.fleets:
                keyring = keyring.with_epoch(role, keyring.epochs.get(role, 0) + 1)
                done.append(f"fleet {role} begins a new epoch, and waits until it is told something again")
            if snapshot is None and newest is None:
                continue  # it may never have been told anything
            lost.add(role)
            found = readable(role, newest, now) if newest else delegated_of(role, _version(snapshot, role), now, {}, None)
        delegated[role] = found
    if snapshot is None:
        meta = {TARGETS: targets, **delegated}
        snapshot = snapshot_of(1, now, {role: meta_of(it.signed.version, it.to_bytes()) for role, it in meta.items()})
    if timestamp is None:
        timestamp = timestamp_of(1, now, MetaFile(snapshot.signed.version))
    _remove(place, _unsigned(place, keyring, root.signed, targets.signed), done)
    keyring.save()
    adopt(place, keyring, Current(tag, root, timestamp, snapshot, targets, delegated), now, again=frozenset({*lost, TIMESTAMP}))
    done += restored(place, keyring, read(place, keyring.anchor()), listed, given=rosters or {}, now=now)
    current = read(place, keyring.anchor())
    if done:
        _remove(place, _not_in_force(place, current), done)
    missing = [*_missing_files(place, current), *(_without_roster(keyring, current) if ROSTER in lost else ())]
    return Recovered(tuple(done), tuple(missing), keyring)


def _roots(place: Place, keyring: Keyring, done: list[str]) -> Metadata[Root]:
    """The last root. Those that the operator has kept are put back; what follows them and is none is removed."""
    root = parsed(Root, keyring.anchor(), "the operator's root.json")
    for version in range(1, root.signed.version + 1):
        kept = keyring.anchor() if version == root.signed.version else keyring.root_at(version)
        key = place.metadata_key(ROOT, version)
        if kept is not None and _bytes(place, key) != kept:
            place.objects.put(key, kept)
            done.append(f"{key} is put back")
    while (data := _bytes(place, key := place.metadata_key(ROOT, root.signed.version + 1))) is not None:
        try:
            root = next_root(root, data, key)
        except IntegrityError:
            _remove(place, [key], done)
            break
        keyring.keep_root(root.signed.version, data)
    return root


def _tried(done: list[str], reading: Callable[..., _Found], *arguments: Any) -> _Found | None:
    try:
        return reading(*arguments)
    except IntegrityError as error:
        done.append(f"replaced: {error}".partition("; see what")[0])
        return None


def _read_told(place: Place, role: str, snapshot: Metadata[Snapshot], above: Targets) -> Metadata[Targets]:
    """A delegated role, of which also can be read what it tells a fleet."""
    found = read_role(place, role, snapshot, above)
    assignment_in(found, role)
    return found


def _newest(place: Place, role: str, above: Root | Targets) -> Metadata[Any] | None:
    """The newest of a role's files that its keys did sign."""
    return next(_editions(place, role, above), None)


def _editions(place: Place, role: str, above: Root | Targets) -> Iterator[Metadata[Any]]:
    """All of a role's files that its keys did sign, the newest first."""
    for _, key in sorted(_files(place, role), reverse=True):
        if _is_signed(place, key, role, above):
            yield parsed(Targets, _bytes(place, key) or b"", key)


def _files(place: Place, role: str) -> Iterator[tuple[int, str]]:
    for key in place.objects.list(f"{place.prefix}metadata/"):
        found = place.role_and_version(key)
        if found and found[0] == role and found[1] <= MOST_METADATA_VERSION:
            yield found[1], key


def _is_signed(place: Place, key: str, role: str, above: Root | Targets) -> bool:
    found, kind = place.role_and_version(key), {SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}.get(role, Targets)
    try:
        metadata = parsed(kind, _bytes(place, key) or b"", key)
        verify(above, role, metadata, key)
    except IntegrityError:
        return False
    return found == (role, metadata.signed.version)


def _unsigned(place: Place, keyring: Keyring, root: Root, targets: Targets) -> list[str]:
    """Names of metadata under which lies what nobody signed who may; those of roots and of the timestamp are looked after elsewhere."""
    rubbish = []
    for key in place.objects.list(f"{place.prefix}metadata/"):
        role = (place.role_and_version(key) or ("", 0))[0]
        if key == place.timestamp_key or role == ROOT:
            continue
        above = root if role in {SNAPSHOT, TARGETS} else targets
        if role not in {SNAPSHOT, TARGETS, *keyring.delegated} or not _is_signed(place, key, role, above):
            rubbish.append(key)
    return rubbish


def _not_in_force(place: Place, current: Current) -> list[str]:
    """What killed publishers left, and what was in force before: ours is now, so that nobody else's can be any more."""
    kept = {place.metadata_key(name.removesuffix(".json"), it.version) for name, it in current.snapshot.signed.meta.items()}
    kept |= {place.metadata_key(SNAPSHOT, current.snapshot.signed.version), place.timestamp_key}
    kept |= {place.metadata_key(ROOT, version) for version in range(1, current.root.signed.version + 1)}
    return [key for key in place.objects.list(f"{place.prefix}metadata/") if key not in kept]


def _missing_files(place: Place, current: Current) -> Iterator[str]:
    for metadata in current.delegated.values():
        for path, target in metadata.signed.targets.items():
            if content_of(place, path, target) is None:
                yield path


def _without_roster(keyring: Keyring, current: Current) -> Iterator[str]:
    """Whether these had one nobody knows any more: what named it is lost."""
    listed = current.delegated[ROSTER].signed.targets if ROSTER in current.delegated else {}
    return (path for fleet in keyring.fleets if (path := f"{ROSTER}/{fleet}.json") not in listed)


def _remove(place: Place, keys: list[str], done: list[str]) -> None:
    if keys:
        place.objects.delete(keys)
        done += [f"{key} is removed" for key in keys]


def _bytes(place: Place, key: str, max_bytes: int = MOST_METADATA_BYTES) -> bytes | None:
    try:
        return place.objects.get(key, max_bytes=max_bytes)
    except (MissingObjectError, IntegrityError):
        return None


def _version(snapshot: Metadata[Snapshot] | None, role: str) -> int:
    meta = snapshot.signed.meta.get(f"{role}.json") if snapshot else None
    return meta.version if meta else 1
