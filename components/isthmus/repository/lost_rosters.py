"""Rosters that a store has lost, put back from what there is of them.

In this order: a copy with the very bytes that are signed; a copy that was given; the newest list in the store that the roster's keys did
sign; the copy beside the key ring. All but the first may be older than what was lost, and are signed anew: devices that joined since have
to be enrolled again, and devices that were removed since are on it again, which is said.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tuf.api.metadata import Metadata, TargetFile, Targets

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.release.store import MissingObjectError
from isthmus.repository.keyring import Keyring, NotEnoughKeysError
from isthmus.repository.objects import ROSTER, Place
from isthmus.repository.publish import publish_roster
from isthmus.repository.reading import Current
from isthmus_agent.formats import roster as rosters
from isthmus_agent.formats.numbers import FormatError


def restored(
    place: Place, keyring: Keyring, current: Current, editions: Sequence[Metadata[Targets]], *, given: Mapping[str, bytes], now: datetime
) -> list[str]:
    """What was put back, in words. editions: of the roster's metadata in the store, the newest first. given: copies by fleet, checked.

    What cannot be put back stays as it is.
    """
    done = []
    role = current.delegated.get(ROSTER)
    for fleet in keyring.fleets:
        path = f"{ROSTER}/{fleet}.json"
        target = role.signed.targets.get(path) if role else None
        if target is not None and content_of(place, path, target) is not None:
            continue
        copies = [it for it in (given.get(fleet), keyring.kept_roster(fleet)) if it is not None]
        same = next((it for it in copies if target is not None and _has_hash(it, target)), None)
        if same is not None and target is not None:
            place.objects.put(place.target_key(path, target.hashes["sha256"]), same)
            done.append(f"{path} is put back from a copy")
            continue
        for content, origin in _candidates(place, keyring, fleet, editions, given):
            try:
                publish_roster(place, keyring, content, name=fleet, now=now)
            except NotEnoughKeysError as error:
                done.append(f"{path} is not put back: {error}")
            else:
                count = len(rosters.from_json(content).devices)
                done.append(
                    f"{path} is signed anew from {origin}, with {count} devices: enrol again who joined since, remove again who left since"
                )
            break
    return done


def content_of(place: Place, path: str, target: TargetFile) -> bytes | None:
    """What the store has of a target file; None where it is not what was signed."""
    try:
        data = place.objects.get(place.target_key(path, target.hashes["sha256"]), max_bytes=target.length)
    except (MissingObjectError, IntegrityError):
        return None
    return data if _has_hash(data, target) else None


def check_copy(fleet: str, content: bytes) -> None:
    """Raises InputError where a copy is no roster of that fleet."""
    try:
        found = rosters.from_json(content).fleet
    except FormatError as error:
        raise InputError([Problem("roster", f"the copy is none: {error}", f"a roster of fleet {fleet}")]) from error
    if found != fleet:
        raise InputError([Problem("roster", f"the copy is of fleet {found}", f"a roster of fleet {fleet}")])


def _candidates(
    place: Place, keyring: Keyring, fleet: str, editions: Sequence[Metadata[Targets]], given: Mapping[str, bytes]
) -> Iterator[tuple[bytes, str]]:
    """Lists that may be older than what was lost, the best first, and where each is from."""
    path = f"{ROSTER}/{fleet}.json"
    if fleet in given:
        yield given[fleet], "the copy that was given"
    for edition in editions:
        target = edition.signed.targets.get(path)
        content = content_of(place, path, target) if target else None
        if content is not None and _is_roster(fleet, content):
            yield content, f"what was signed in version {edition.signed.version}"
    kept = keyring.kept_roster(fleet)
    if kept is not None and _is_roster(fleet, kept):
        yield kept, "the copy beside the key ring"


def _is_roster(fleet: str, content: bytes) -> bool:
    try:
        check_copy(fleet, content)
    except InputError:
        return False
    return True


def _has_hash(content: bytes, target: TargetFile) -> bool:
    return hashlib.sha256(content).hexdigest() == target.hashes["sha256"]
