"""Metadata of the roles, made from the key ring. Pure: what is signed here is written by others.

root and targets are for keys that stay offline. targets has no files: it delegates `FLEET/*` to a role of the fleet's name, and
`roster/*` to the roster. snapshot and timestamp are for keys that are online. A fleet's role carries its assignment as a field of our own
(isthmus_agent.formats.signed_fields).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from isthmus.errors import InputError, Problem
from isthmus.limits import SIGNED_DAYS
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import add_signature
from isthmus.repository.objects import SNAPSHOT, TOP_ROLES
from isthmus_agent.formats.signed_fields import FIELD, epochs_field, signed_field
from isthmus_agent.formats.sizes import most_bytes


def expiry(role: str, now: datetime, days: Mapping[str, int] | None = None) -> datetime:
    """When what is signed now for a role ends. days: by kind of role, instead of the defaults."""
    kind = role if role in TOP_ROLES else "delegated"
    return (now + timedelta(days=(days or {}).get(kind, SIGNED_DAYS[kind].default))).replace(microsecond=0)


def root_of(keyring: Keyring, version: int, now: datetime) -> Metadata[Root]:
    """The list of the top roles' keys, unsigned."""
    keys: dict[str, Key] = {key.public.keyid: key.public for role in TOP_ROLES for key in keyring.roles[role].keys}
    roles = {role: Role([key.public.keyid for key in keyring.roles[role].keys], keyring.roles[role].threshold) for role in TOP_ROLES}
    return Metadata(Root(version=version, expires=expiry("root", now), keys=keys, roles=roles, consistent_snapshot=True))


def targets_of(keyring: Keyring, version: int, now: datetime) -> Metadata[Targets]:
    """The delegations to the fleets and the roster, with the fleets' epochs; unsigned."""
    keys: dict[str, Key] = {key.public.keyid: key.public for role in keyring.delegated for key in keyring.roles[role].keys}
    roles = {}
    for role in keyring.delegated:
        keyids = [key.public.keyid for key in keyring.roles[role].keys]
        roles[role] = DelegatedRole(role, keyids, keyring.roles[role].threshold, terminating=True, paths=[f"{role}/*"])
    epochs = {fleet: keyring.epochs.get(fleet, 0) for fleet in keyring.fleets}
    fields = {FIELD: epochs_field(epochs)}
    return Metadata(
        Targets(version=version, expires=expiry("targets", now), delegations=Delegations(keys, roles), unrecognized_fields=fields)
    )


def delegated_of(
    role: str, version: int, now: datetime, targets: Mapping[str, TargetFile], assignment: Mapping[str, Any] | None
) -> Metadata[Targets]:
    """A delegated role's files, with what the fleet is told; unsigned."""
    fields = {FIELD: dict(assignment)} if assignment is not None else None
    return Metadata(Targets(version=version, expires=expiry(role, now), targets=dict(targets), unrecognized_fields=fields))


def snapshot_of(version: int, now: datetime, meta: Mapping[str, MetaFile]) -> Metadata[Snapshot]:
    """Which versions belong together; unsigned. meta: by role."""
    return Metadata(Snapshot(version=version, expires=expiry(SNAPSHOT, now), meta={f"{role}.json": it for role, it in meta.items()}))


def timestamp_of(version: int, now: datetime, snapshot: MetaFile, root: int = 0) -> Metadata[Timestamp]:
    """Which snapshot is in force, when that was said, and by which version of the root (0: that is not said); unsigned."""
    fields = {FIELD: signed_field(int(now.timestamp()), root)}
    return Metadata(Timestamp(version=version, expires=expiry("timestamp", now), snapshot_meta=snapshot, unrecognized_fields=fields))


def meta_of(version: int, data: bytes) -> MetaFile:
    """A file of metadata, as the role above it names it: length and hash too, so that a device reads no byte more."""
    return MetaFile.from_data(version, data, ["sha256"])


def signed(metadata: Metadata[Any], signers: Iterable[Signer]) -> bytes:
    """The metadata with the signatures of all the signers, as it is written.

    Raises InputError for more than a device reads, KeyNotAtHandError where a key does not sign.
    """
    metadata.signatures.clear()
    for signer in signers:
        add_signature(metadata, signer)
    data, kind = metadata.to_bytes(), metadata.signed.type
    if len(data) > most_bytes(kind):
        what = f"its {kind} would have {len(data)} bytes, and devices read {most_bytes(kind)} at most"
        raise InputError([Problem("repository", what, "fewer fleets or files in one repository")])
    return data
