"""Publishing: files first, the name of what is in force last.

The order is target files, the fleet's role, targets, snapshot, timestamp. All but the timestamp have names of their own that are only
ever new; the timestamp is written over the one that was read, and no other. So a publisher that is killed leaves what was in force in
force, and of two at once one wins. What a killed one left has a name that the next one passes over: versions have gaps, and nobody minds.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.release.store import MissingObjectError
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import (
    ROSTER,
    SNAPSHOT,
    TIMESTAMP,
    Place,
    RacedError,
)
from isthmus.repository.reading import RECOVER, Current, read
from isthmus.repository.roles import delegated_of, meta_of, signed, snapshot_of, timestamp_of
from isthmus_agent.formats.assignment import Assignment, from_value
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.signed_fields import FIELD, numbers_of

MOST_LEFTOVERS = 64
"""Names in a row that killed publishers may have taken; more is somebody's rubbish."""

Change = Callable[[Assignment | None, int], Assignment]
"""From what the fleet is told now, and the number that follows, to what it shall be told: under that number, or, where contents and
waves stay the same, under the old one."""


@dataclass(frozen=True)
class Published:
    """puts: objects that were written."""

    assignment: Assignment
    puts: tuple[str, ...]


def publish(
    place: Place,
    keyring: Keyring,
    fleet: str,
    change: Change,
    files: Mapping[str, Path | bytes] | None = None,
    *,
    now: datetime | None = None,
) -> Published:
    """Tells a fleet something new. files: by target path (`FLEET/NAME`), those that the repository does not have yet.

    Raises RacedError where somebody else published meanwhile, NotEnoughKeysError without the keys, IntegrityError where what is in
    force cannot be read, InputError where the assignment names a file that is neither given nor there.
    """
    now = now or datetime.now(UTC)
    signers = {role: keyring.signers(role) for role in (fleet, SNAPSHOT, TIMESTAMP)}  # before anything is written
    current = read(place, keyring.anchor())
    before = current.delegated.get(fleet)
    told = assignment_in(before, fleet) if before else None
    assignment = _checked(change(told, number := next_number(keyring, fleet, told)), fleet, number, told)
    given = {path: _target(path, content) for path, content in (files or {}).items()}
    targets = _named({**(before.signed.targets if before else {}), **given}, assignment)
    puts = Puts(place, current.tag, current.root.signed.version)
    for path, target in given.items():
        puts.content(path, target, (files or {})[path])
    make = lambda version: delegated_of(fleet, version, now, targets, assignment.to_value())  # noqa: E731
    edition = {fleet: puts.role(fleet, current.version_of(fleet), make, signers[fleet])}
    puts.in_force(current, edition, signers[SNAPSHOT], signers[TIMESTAMP], now)
    for path, target in given.items():
        puts.still_there(path, target, (files or {})[path])
    return Published(assignment, tuple(puts.written))


def publish_roster(
    place: Place, keyring: Keyring, roster: bytes | Callable[[bytes], bytes], *, name: str = "devices", now: datetime | None = None
) -> bool:
    """The signed list of devices, as `roster/NAME.json`; whether anything was written. Nothing that a device fetches changes.

    roster: the list, which also takes the place of one that cannot be read; or what makes it from the one in force (empty where there is
    none). Errors as for `publish`.
    """
    now = now or datetime.now(UTC)
    signers = {role: keyring.signers(role) for role in (ROSTER, SNAPSHOT, TIMESTAMP)}
    current = read(place, keyring.anchor())
    before = read_roster(place, current, name) if callable(roster) else _roster_if_whole(place, current, name)
    content = roster(before or b"") if callable(roster) else roster
    if content == before:
        return False
    path = f"{ROSTER}/{name}.json"
    target = _target(path, content)
    targets = {**(current.delegated[ROSTER].signed.targets if ROSTER in current.delegated else {}), path: target}
    puts = Puts(place, current.tag, current.root.signed.version)
    puts.content(path, target, content)
    make = lambda version: delegated_of(ROSTER, version, now, targets, None)  # noqa: E731
    edition = {ROSTER: puts.role(ROSTER, current.version_of(ROSTER), make, signers[ROSTER])}
    puts.in_force(current, edition, signers[SNAPSHOT], signers[TIMESTAMP], now)
    return True


def _roster_if_whole(place: Place, current: Current, name: str) -> bytes | None:
    try:
        return read_roster(place, current, name)
    except IntegrityError:
        return None


def read_roster(place: Place, current: Current, name: str) -> bytes:
    """The list of devices in force; empty where there is none. Raises IntegrityError where it is missing, or is not what was signed."""
    path = f"{ROSTER}/{name}.json"
    target = current.delegated[ROSTER].signed.targets.get(path) if ROSTER in current.delegated else None
    if target is None:
        return b""
    key = place.target_key(path, target.hashes["sha256"])
    try:
        content = place.objects.get(key, max_bytes=target.length)
    except MissingObjectError as error:
        raise IntegrityError(f"{error}: the roster is in force, and is not there; put it there again from a copy") from error
    if hashlib.sha256(content).hexdigest() != target.hashes["sha256"]:
        raise IntegrityError(f"{key} is not what was signed; put it there again from a copy")
    return content


def assignment_in(metadata: Metadata[Any], fleet: str) -> Assignment | None:
    """What a fleet's role tells it. Raises IntegrityError where that cannot be read, or is for another fleet."""
    field = metadata.signed.unrecognized_fields.get(FIELD)
    try:
        found = None if field is None else from_value(field)
    except FormatError as error:
        raise IntegrityError(f"the assignment in force cannot be read: {error}; {RECOVER}") from error
    if found is not None and found.fleet != fleet:
        raise IntegrityError(f"the assignment in force of {fleet} is for {found.fleet}; {RECOVER}")
    return found


def next_number(keyring: Keyring, fleet: str, told: Assignment | None) -> int:
    """The number of a fleet's next assignment. Raises IntegrityError where its epoch is used up."""
    numbers = numbers_of(keyring.epochs.get(fleet, 0))
    number = max(told.number + 1 if told else 0, numbers.start)
    if number not in numbers:
        raise IntegrityError(f"fleet {fleet} has no number after {number - 1} in its epoch: revoke its key, which begins another")
    return number


def named_files(assignment: Assignment) -> set[str]:
    """The target paths that an assignment names: bundles, deltas, and the bundles of what devices keep that no open wave has."""
    return {variant.bundle for variant in assignment.contents} | {delta.path for delta in assignment.deltas}


def _checked(assignment: Assignment, fleet: str, number: int, told: Assignment | None) -> Assignment:
    """As a device will read it. Raises InputError where it would not accept it."""
    try:
        from_value(assignment.to_value())
    except FormatError as error:
        raise InputError([Problem("assignment", str(error))]) from error
    if assignment.fleet != fleet:
        raise InputError([Problem("assignment", f"is for fleet {assignment.fleet}", f"one for {fleet}")])
    stays = told is not None and (assignment.number, assignment.identity) == (told.number, told.identity)
    if assignment.number != number and not stays:
        raise InputError([Problem("assignment", f"has number {assignment.number}", f"{number}: contents or waves are others")])
    return assignment


def _named(targets: Mapping[str, TargetFile], assignment: Assignment) -> dict[str, TargetFile]:
    named = named_files(assignment)
    if missing := sorted(named - set(targets)):
        what = f"names {', '.join(missing)}, which the repository does not have"
        raise InputError([Problem("assignment", what, "files that are there, or are given")])
    return {path: targets[path] for path in sorted(named)}


def _target(path: str, content: Path | bytes) -> TargetFile:
    if isinstance(content, Path):
        return TargetFile.from_file(path, str(content), ["sha256"])
    return TargetFile.from_data(path, content, ["sha256"])


class Puts:
    """Writes of one publishing. tag: of the timestamp that was read. root: the version that is in force; 0: that is not said."""

    def __init__(self, place: Place, tag: str, root: int = 0) -> None:
        self._place = place
        self._tag = tag
        self._root = root
        self.written: list[str] = []

    def content(self, path: str, target: TargetFile, content: Path | bytes) -> None:
        """A target file under the name of its hash. What is there already is looked at: it may be anybody's."""
        key = self._place.target_key(path, target.hashes["sha256"])
        if not self._place.objects.put(key, content, only_new=True):
            try:
                found = hashlib.sha256(self._place.objects.get(key, max_bytes=target.length)).hexdigest()
            except (IntegrityError, MissingObjectError):
                found = ""
            if found == target.hashes["sha256"]:
                return
            self._place.objects.put(key, content)
        self.written.append(key)

    def still_there(self, path: str, target: TargetFile, content: Path | bytes) -> None:
        """Puts a file again that was removed before it was in force, when nothing named it (`sweeping`)."""
        if not self._place.objects.tag(self._place.target_key(path, target.hashes["sha256"])):
            self.content(path, target, content)

    def role(self, role: str, version: int, make: Callable[[int], Metadata[Any]], signers: Iterable[Signer]) -> MetaFile:
        """A role's metadata under the first version after that one whose name is free."""
        signers = list(signers)
        for found in range(version + 1, version + 1 + MOST_LEFTOVERS):
            data = signed(make(found), signers)
            key = self._place.metadata_key(role, found)
            if self._place.objects.put(key, data, only_new=True):
                self.written.append(key)
                return meta_of(found, data)
            if self._place.objects.tag(self._place.timestamp_key) != self._tag:
                raise RacedError
        raise IntegrityError(
            f"{MOST_LEFTOVERS} names after {self._place.metadata_key(role, version)} are taken by what nobody published; "
            "remove it with `isthmus fleet recover`"
        )

    def in_force(
        self, current: Current, edition: Mapping[str, MetaFile], snapshot: Iterable[Signer], timestamp: Iterable[Signer], now: datetime
    ) -> None:
        """Puts an edition in force: roles by name, the others as they are. Raises RacedError."""
        meta = {name.removesuffix(".json"): it for name, it in current.snapshot.signed.meta.items()} | dict(edition)
        taken = self.role(SNAPSHOT, current.snapshot.signed.version, lambda version: snapshot_of(version, now, meta), snapshot)
        self.timestamp(current.timestamp.signed.version + 1, taken, timestamp, now)

    def timestamp(self, version: int, snapshot: MetaFile, signers: Iterable[Signer], now: datetime) -> None:
        """Puts a snapshot in force. Raises RacedError where another timestamp is there than was read."""
        key = self._place.timestamp_key
        data = signed(timestamp_of(version, now, snapshot, self._root), signers)
        if not self._place.objects.put(key, data, only_new=not self._tag, over=self._tag) and not self._is_there(key, data):
            raise RacedError
        self.written.append(key)

    def _is_there(self, key: str, data: bytes) -> bool:
        """Whether a write that was refused is there all the same: its first answer may have been lost, and it was sent again."""
        try:
            return self._place.objects.get(key, max_bytes=len(data)) == data
        except (IntegrityError, MissingObjectError):
            return False
