"""Brings a repository in line with the key ring: what the ring says is signed where it is not yet.

May be ended and run again at any point. A role whose keys change is signed by the old and the new ones, as far as they are at hand, and
the new root comes last: a device follows before and after it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Targets

from isthmus.errors import IntegrityError
from isthmus.repository.keyring import Keyring, NotEnoughKeysError
from isthmus.repository.objects import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Place, RacedError
from isthmus.repository.publish import Puts, assignment_in
from isthmus.repository.reading import Current, next_root
from isthmus.repository.roles import delegated_of, root_of, signed, snapshot_of, targets_of
from isthmus_agent.formats.signed_fields import numbers_of


def adopt(
    place: Place,
    keyring: Keyring,
    current: Current,
    now: datetime,
    *,
    again: frozenset[str] = frozenset(),
    root: Metadata[Root] | None = None,
) -> list[str]:
    """What was signed anew, by role. again: roles to sign anew though their keys are right, as when they expire. root: the next one, with
    signatures of keys that are not here (`turns`).

    Raises NotEnoughKeysError, RacedError.
    """
    wanted_root = root or root_of(keyring, current.root.signed.version + 1, now)
    wanted_targets = targets_of(keyring, current.targets.signed.version, now)
    new_root = root is not None or ROOT in again or _root_keys(wanted_root.signed) != _root_keys(current.root.signed)
    signs = _Signing(keyring, current)
    stale = {role for role, it in current.delegated.items() if role in again or not _verifies(wanted_targets.signed, role, it)}
    stale |= {role for role, it in current.delegated.items() if role in keyring.fleets and _outside_epoch(keyring, role, it)}
    renew_targets = (
        TARGETS in again
        or not _same_delegations(wanted_targets.signed, current.targets.signed)
        or not _verifies(wanted_root.signed, TARGETS, current.targets)
    )
    renew_snapshot = bool(stale) or renew_targets or SNAPSHOT in again or not _verifies(wanted_root.signed, SNAPSHOT, current.snapshot)
    renew_timestamp = new_root or renew_snapshot or TIMESTAMP in again or not _verifies(wanted_root.signed, TIMESTAMP, current.timestamp)
    # All signers before anything is written: what cannot be finished is not begun.
    roles = [*sorted(stale), *([TARGETS] if renew_targets else []), *([SNAPSHOT] if renew_snapshot else [])]
    signers = {role: signs.of(role) for role in [*roles, *([TIMESTAMP] if renew_timestamp else [])]}
    root_data = (root.to_bytes() if root else signed(wanted_root, signs.of(ROOT))) if new_root else b""
    if new_root:
        _check_root(current, root_data)
    # Devices look for a new root when the timestamp names it. It comes after the root where they can read it by either.
    root_first = new_root and _others(wanted_root.signed) == _others(current.root.signed)
    puts = Puts(place, current.tag, (wanted_root if new_root else current.root).signed.version)
    meta = {name.removesuffix(".json"): it for name, it in current.snapshot.signed.meta.items()}
    for role in sorted(stale):
        version = max(current.version_of(role), _version(current.delegated[role]))
        meta[role] = puts.role(role, version, _maker(keyring, role, current, now), signers[role])
    if renew_targets:
        version = max(current.version_of(TARGETS), current.targets.signed.version)
        meta[TARGETS] = puts.role(TARGETS, version, lambda it: targets_of(keyring, it, now), signers[TARGETS])
    snapshot: MetaFile = current.timestamp.signed.snapshot_meta
    if renew_snapshot:
        snapshot = puts.role(SNAPSHOT, current.snapshot.signed.version, lambda it: snapshot_of(it, now, meta), signers[SNAPSHOT])
    if root_first:
        _put_root(place, wanted_root.signed.version, root_data)
    if renew_timestamp:
        puts.timestamp(current.timestamp.signed.version + 1, snapshot, signers[TIMESTAMP], now)
    if new_root and not root_first:
        _put_root(place, wanted_root.signed.version, root_data)
    if new_root or keyring.anchor() != current.root.to_bytes():
        data = root_data or current.root.to_bytes()
        keyring.keep_root(wanted_root.signed.version if new_root else current.root.signed.version, data)
    return [*roles, *([TIMESTAMP] if renew_timestamp else []), *([ROOT] if new_root else [])]


def readable(fleet: str, metadata: Metadata[Targets], now: datetime) -> Metadata[Targets]:
    """The role of a fleet that begins a new epoch. Where nobody can read what it is told: the same files, unsigned, told nothing."""
    try:
        assignment_in(metadata, fleet)
    except IntegrityError:
        return delegated_of(fleet, metadata.signed.version, now, metadata.signed.targets, None)
    return metadata


class _Signing:
    """Who signs for a role: its keys of the ring, and those that it has in force, as far as they are at hand."""

    def __init__(self, keyring: Keyring, current: Current) -> None:
        self._keyring = keyring
        self._in_force = {role: it.keyids for role, it in current.root.signed.roles.items()}
        delegations = current.targets.signed.delegations
        if delegations and delegations.roles:
            self._in_force |= {role: it.keyids for role, it in delegations.roles.items()}

    def of(self, role: str) -> list[Signer]:
        found = {signer.public_key.keyid: signer for signer in self._keyring.signers(role)}
        others = self._keyring.signers_at_hand(keyid for keyid in self._in_force.get(role, ()) if keyid not in found)
        return [*found.values(), *others]


def _check_root(current: Current, data: bytes) -> None:
    try:
        next_root(current.root, data, "the new root")
    except IntegrityError as error:
        role = current.root.signed.roles[ROOT]
        raise NotEnoughKeysError(
            f"a new root needs {role.threshold} of the keys that are in force ({', '.join(it[:12] for it in role.keyids)}) as well: {error}"
        ) from error


def _root_keys(root: Root) -> dict[str, Any]:
    return {role: (sorted(it.keyids), it.threshold) for role, it in root.roles.items()}


def _others(root: Root) -> dict[str, Any]:
    return {role: keys for role, keys in _root_keys(root).items() if role != ROOT}


def _put_root(place: Place, version: int, data: bytes) -> None:
    key = place.metadata_key(ROOT, version)
    if not place.objects.put(key, data, only_new=True) and place.objects.get(key, max_bytes=len(data)) != data:
        raise RacedError


def _same_delegations(wanted: Targets, found: Targets) -> bool:
    return (wanted.delegations, wanted.unrecognized_fields) == (found.delegations, found.unrecognized_fields)


def _verifies(above: Root | Targets, role: str, metadata: Metadata[Any]) -> bool:
    try:
        above.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError):
        return False
    return True


def _version(metadata: Metadata[Any]) -> int:
    return int(metadata.signed.version)


def _outside_epoch(keyring: Keyring, fleet: str, metadata: Metadata[Targets]) -> bool:
    told = assignment_in(metadata, fleet)
    return told is not None and told.number not in numbers_of(keyring.epochs.get(fleet, 0))


def _maker(keyring: Keyring, role: str, current: Current, now: datetime) -> Callable[[int], Metadata[Targets]]:
    """The same content. Where it is of an earlier epoch, somebody else may have written it: it waits until the operator says it again."""
    metadata = current.delegated[role]
    told = assignment_in(metadata, role) if role in keyring.fleets else None
    if told is not None and _outside_epoch(keyring, role, metadata):
        told = replace(told, number=numbers_of(keyring.epochs[role]).start, paused=True)
    return lambda version: delegated_of(role, version, now, metadata.signed.targets, told.to_value() if told else None)
