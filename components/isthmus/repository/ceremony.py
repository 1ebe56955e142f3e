"""The key ceremony: making, rotating and revoking keys, and what there is of them.

Each step changes the key ring first, then brings the repository in line with it (adopting), so that a step that was ended half-way is
finished by the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.repository.adopting import adopt, readable
from isthmus.repository.keyring import FILE_NAME, Keyring, RoleKey, RoleKeys
from isthmus.repository.keys import FILE, make_key, public_key, scheme_of
from isthmus.repository.objects import (
    FLEET_NAMES,
    ROOT,
    ROSTER,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_ROLES,
    Place,
    is_fleet_name,
)
from isthmus.repository.publish import Puts
from isthmus.repository.reading import MOST_METADATA_BYTES, Current, read
from isthmus.repository.roles import root_of, signed, snapshot_of, targets_of
from isthmus.repository.turns import drafted, sign


@dataclass(frozen=True)
class WantedKey:
    """A key that a role shall have. public_pem: its public half, where it is not made or read here."""

    uri: str
    public_pem: str = ""


def init(
    folder: Path,
    fleets: Sequence[str],
    *,
    threshold: int = 2,
    root_keys: int = 3,
    given: Mapping[str, Sequence[WantedKey]] | None = None,
    now: datetime | None = None,
) -> Keyring:
    """A new key ring with a first root. threshold, root_keys: of the root. given: keys by role, instead of new `file:` ones.

    Raises InputError where there is one already, a name is none for a fleet, or the root has fewer keys than have to sign.
    """
    if (folder / FILE_NAME).exists():
        raise InputError(
            [Problem(str(folder / FILE_NAME), "exists already", "a folder without a key ring", "isthmus keys rotate changes it")]
        )
    wanted = wanted_keys(fleets, root_keys, given)
    if not 1 <= threshold <= len(wanted[ROOT]):  # never lowered in silence, and before a key is made
        what = f"{threshold} of {len(wanted[ROOT])} root keys would have to sign"
        raise InputError([Problem("threshold", what, "from 1 to as many as it has", "give the root more keys, or ask for fewer")])
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ring = Keyring(folder, {}, dict.fromkeys(fleets, 0))
    for role, its_keys in wanted.items():
        keys = tuple(role_key(it, folder) for it in its_keys)
        ring = ring.with_role(role, RoleKeys(threshold if role == ROOT else 1, keys))
    root = signed(root_of(ring, 1, now or datetime.now(UTC)), ring.signers(ROOT))
    ring.keep_root(1, root)
    ring.save()
    return ring


def wanted_keys(
    fleets: Sequence[str], root_keys: int = 3, given: Mapping[str, Sequence[WantedKey]] | None = None
) -> dict[str, Sequence[WantedKey]]:
    """The keys of a new key ring by role: those that are given, else new files. Raises InputError where a name is none for a fleet."""
    _check_fleets(fleets)
    files = {role: root_keys if role == ROOT else 1 for role in (*TOP_ROLES, *fleets, ROSTER)}
    if unknown := sorted(set(given or ()) - set(files)):
        raise InputError([Problem("key", f"there is no role {', '.join(unknown)}", f"one of {', '.join(files)}")])
    made = {role: [WantedKey(f"{FILE}:{role}-{number}.pem") for number in range(1, count + 1)] for role, count in files.items()}
    return {role: (given or {}).get(role) or keys for role, keys in made.items()}


def found(place: Place, keyring: Keyring, *, now: datetime | None = None) -> bool:
    """Puts an empty repository of a new key ring into a store; False where it is there already.

    Raises IntegrityError where another one's is there.
    """
    now = now or datetime.now(UTC)
    first = keyring.root_at(1) or keyring.anchor()
    if not place.objects.put(place.metadata_key(ROOT, 1), first, only_new=True):
        if place.objects.get(place.metadata_key(ROOT, 1), max_bytes=MOST_METADATA_BYTES) != first:
            raise IntegrityError(f"{place.metadata_key(ROOT, 1)} is there, and is not of this key ring: give the fleet another prefix")
        if place.objects.tag(place.timestamp_key):
            return False
    puts = Puts(place, "", 1)
    targets = puts.role(TARGETS, 0, lambda version: targets_of(keyring, version, now), keyring.signers(TARGETS))
    meta = puts.role(SNAPSHOT, 0, lambda version: snapshot_of(version, now, {TARGETS: targets}), keyring.signers(SNAPSHOT))
    puts.timestamp(1, meta, keyring.signers(TIMESTAMP), now)
    return True


def add_fleet(place: Place, keyring: Keyring, fleet: str, key: WantedKey | None = None, *, now: datetime | None = None) -> Keyring:
    """Another fleet in the same repository. Needs the keys of targets."""
    _check_fleets([fleet])
    if fleet not in keyring.roles:
        made = role_key(key or WantedKey(f"{FILE}:{fleet}-1.pem"), keyring.folder)
        keyring = keyring.with_role(fleet, RoleKeys(1, (made,))).with_epoch(fleet, 0)
        keyring.save()
    _adopt(place, keyring, now)
    return keyring


def rotate(
    place: Place,
    keyring: Keyring,
    role: str,
    keys: Sequence[WantedKey] = (),
    *,
    threshold: int = 0,
    is_later: bool = False,
    now: datetime | None = None,
) -> Keyring:
    """New keys for a role, as many as it had unless they are given; the old ones have no say any more.

    threshold: 0: as it was. A new root is signed by the old keys and the new ones. is_later: the key ring alone is changed, and `resume`
    ends the step, once the root is signed in turns.
    """
    _check_role(keyring, role)
    wanted = keys or [next_key(keyring, role, offset) for offset in range(len(keyring.roles[role].keys))]
    made = tuple(role_key(it, keyring.folder) for it in wanted)
    keyring = keyring.with_role(role, RoleKeys(threshold or keyring.roles[role].threshold, made))
    keyring.save()
    if not is_later:
        _adopt(place, keyring, now)
    return keyring


def revoke(
    place: Place, keyring: Keyring, keyid: str, key: WantedKey | None = None, *, is_later: bool = False, now: datetime | None = None
) -> Keyring:
    """Takes one key's say, in every role that has it, and gives each of them another (`key`, or a new `file:` one).

    What the key signed is signed by the new one. A fleet whose key is taken begins a new epoch, paused: nobody knows who wrote what it
    was told last. keyid: its beginning is enough. is_later: as for `rotate`. Raises InputError where no key, or more than one, begins so.
    """
    every = {it.public.keyid for keys in keyring.roles.values() for it in keys.keys}
    matching = sorted(it for it in every if it.startswith(keyid)) if keyid else []
    if len(matching) != 1:
        what = f"{len(matching)} keys begin with {keyid!r}"
        raise InputError([Problem("key", what, "the beginning of one key's id", "see `isthmus keys status`")])
    epochs = keyring.epochs
    for role, keys in keyring.roles.items():
        if any(it.public.keyid == matching[0] for it in keys.keys):
            made = role_key(key or next_key(keyring, role), keyring.folder)
            keyring = keyring.with_role(role, keys.without(matching[0]).with_key(made))
            if role in keyring.fleets:
                keyring = keyring.with_epoch(role, keyring.epochs.get(role, 0) + 1)
    keyring.save()
    if not is_later:
        now, current = now or datetime.now(UTC), read(place, keyring.anchor())
        anew = {fleet for fleet in keyring.fleets if keyring.epochs.get(fleet, 0) != epochs.get(fleet, 0)}
        delegated = {role: readable(role, it, now) if role in anew else it for role, it in current.delegated.items()}
        adopt(place, keyring, replace(current, delegated=delegated), now)
    return keyring


def resume(place: Place, keyring: Keyring, *, root: bytes = b"", now: datetime | None = None) -> None:
    """Finishes a step that was ended half-way: the repository in line with the key ring. root: the next one, signed in turns.

    Raises InputError where that is not the next one as the key ring says it.
    """
    current = read(place, keyring.anchor())
    draft = drafted(keyring, current.root.signed, sign(keyring, root, now or datetime.now(UTC)).data) if root else None
    adopt(place, keyring, current, now or datetime.now(UTC), root=draft)


@dataclass(frozen=True)
class RoleStatus:
    """One role. at_hand: of its keys, by id, whether the private half is here. expires: None where it is not published."""

    role: str
    threshold: int
    at_hand: Mapping[str, bool]
    uris: Mapping[str, str]
    expires: datetime | None
    is_published: bool


def status(keyring: Keyring, current: Current | None) -> list[RoleStatus]:
    """Every role of the key ring. current: what is in force; None where it is not known. is_published: with these very keys."""
    shown = []
    for role, keys in keyring.roles.items():
        ids = [key.public.keyid for key in keys.keys]
        metadata = _metadata(current, role) if current else None
        shown.append(
            RoleStatus(
                role,
                keys.threshold,
                {it: bool(keyring.signers_at_hand([it])) for it in ids},
                {key.public.keyid: key.uri for key in keys.keys},
                metadata.signed.expires if metadata else None,
                sorted(ids) == sorted(_in_force(current, role)) if current else False,
            )
        )
    return shown


def role_key(wanted: WantedKey, folder: Path) -> RoleKey:
    """The key that is wanted: given, read, or, where it is a file that does not exist, made."""
    if scheme_of(wanted.uri) == FILE and not wanted.public_pem and not (folder / wanted.uri.partition(":")[2]).exists():
        return RoleKey(wanted.uri, make_key(wanted.uri, folder))
    return RoleKey(wanted.uri, public_key(wanted.uri, folder, wanted.public_pem))


def next_key(keyring: Keyring, role: str, offset: int = 0) -> WantedKey:
    """A new file beside a role's others. Raises InputError where its keys are no files: then somebody has to make one."""
    if any(scheme_of(key.uri) != FILE for key in keyring.roles[role].keys):
        uris = ", ".join(key.uri for key in keyring.roles[role].keys)
        raise InputError([Problem(f"role {role}", f"its keys are {uris}", "the new key", "give one: --key URI,PUBLIC.pem")])
    numbers = [int(stem) for path in keyring.folder.glob(f"{role}-*.pem") if (stem := path.stem.removeprefix(f"{role}-")).isdigit()]
    return WantedKey(f"{FILE}:{role}-{max(numbers, default=0) + 1 + offset}.pem")


def _adopt(place: Place, keyring: Keyring, now: datetime | None) -> None:
    adopt(place, keyring, read(place, keyring.anchor()), now or datetime.now(UTC))


def _metadata(current: Current, role: str) -> Metadata[Any] | None:
    tops: dict[str, Metadata[Any]] = {
        ROOT: current.root,
        TARGETS: current.targets,
        SNAPSHOT: current.snapshot,
        TIMESTAMP: current.timestamp,
    }
    return tops.get(role) or current.delegated.get(role)


def _in_force(current: Current, role: str) -> list[str]:
    if role in TOP_ROLES:
        return list(current.root.signed.roles[role].keyids)
    delegations = current.targets.signed.delegations
    return list(delegations.roles[role].keyids) if delegations and delegations.roles and role in delegations.roles else []


def _check_role(keyring: Keyring, role: str) -> None:
    if role not in keyring.roles:
        raise InputError([Problem("role", f"the key ring has no role {role!r}", f"one of {', '.join(keyring.roles)}")])


def _check_fleets(fleets: Sequence[str]) -> None:
    problems = [Problem("fleet", f"{fleet!r} cannot be a fleet's name", FLEET_NAMES) for fleet in fleets if not is_fleet_name(fleet)]
    if problems:
        raise InputError(problems)
