"""Joining a fleet with a token that is used once: `isthmus-agent enrol` on the device's side.

The order is what makes it safe to be ended anywhere and run again. What the token opens is kept first, with a nonce of this device's own;
then the token is claimed, by a write that the store takes once; then what was kept is in force; then the sealed object is deleted. A
device that was ended in between knows its own claim by the nonce; any other device sees somebody's claim, and is refused.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus_agent.disk import durable
from isthmus_agent.formats import enrolment, numbers, sealing
from isthmus_agent.formats.enrolment import Enrolment, Token
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.manager.failures import STORED, DeviceFailure, RepositoryFailure, TransportFailure
from isthmus_agent.manager.transport import Transport, fetched

FILE: Final = "enrolment"
COPY: Final = "enrolment.copy"
_CLAIMING: Final = "enrolment.claiming"
_MOST_BYTES: Final = enrolment.MOST_ENROLMENT_BYTES
_ONLY_NEW: Final = {"If-None-Match": "*"}
_CONFLICTS: Final = (409, 412)


class RefusedTokenFailure(RepositoryFailure):
    """The token is none, is used, withdrawn or expired, or this device may not use it. Trying again does not help; another token does."""

    failure = "device"


def enrol(text: str, folder: Path, transport: Transport | None = None) -> Enrolment:
    """Uses a token: what this device is from now on, kept in its folder. May be run again with the same token, whenever it was ended.

    A device that is enrolled may be given new keys so: by a token for the same device of the same fleet.

    Raises:
        RefusedTokenFailure: see there.
        TransportFailure: the store cannot be reached, or does not answer as one. Nothing was lost: try again.
        DeviceFailure: what the token gives cannot be kept.
    """
    try:
        token = enrolment.token_from(text)
    except FormatError as error:
        raise RefusedTokenFailure(str(error)) from None  # its cause may hold a part of the secret
    name = enrolment.claim_of(token.secret)
    mend(folder)
    present = _present(folder)
    if present and present.claim == name:
        _discard(token, transport or Transport())
        return present.enrolment
    if present and (present.enrolment.fleet, present.enrolment.device) != (token.fleet, token.device):
        raise RefusedTokenFailure(
            f"this device is {present.enrolment.device} of fleet {present.enrolment.fleet}, and the token is for {token.device} of fleet "
            f"{token.fleet}: to make it that one, remove its folder {folder} first"
        )
    transport = transport or Transport()
    kept = _kept(folder / _CLAIMING)
    if kept is None or kept.claim != name:
        kept = _Kept(name, os.urandom(sealing.NONCE_BYTES), _opened(token, transport))
        _keep(folder / _CLAIMING, kept)
    _claim(token, kept.nonce, transport)
    for file in (FILE, COPY):
        _keep(folder / file, kept)
    with suppress(OSError):
        durable.remove(folder / _CLAIMING)
    _discard(token, transport)
    return kept.enrolment


def enrolled(folder: Path) -> Enrolment | None:
    """What this device is; None where it is enrolled in no fleet, or both copies are damaged: then it needs another token.

    Nothing is written: anybody may ask who may read the folder.
    """
    found = _present(folder)
    return found.enrolment if found else None


def mend(folder: Path) -> None:
    """Writes the copy again that is missing or damaged, from the other one."""
    whole = _present(folder)
    for file in (FILE, COPY):
        if whole and _kept(folder / file) != whole:
            with suppress(DeviceFailure):
                _keep(folder / file, whole)


@dataclass(frozen=True)
class _Kept:
    """What is on the disk. claim: the token's name. nonce: of this device's claim."""

    claim: str
    nonce: bytes
    enrolment: Enrolment


def _present(folder: Path) -> _Kept | None:
    """From either copy."""
    return _kept(folder / FILE) or _kept(folder / COPY)


def _opened(token: Token, transport: Transport) -> Enrolment:
    status, content = fetched(token.sealed_url, transport, enrolment.MOST_SEALED_BYTES)
    if status == 404:
        raise RefusedTokenFailure(f"the token for {token.device} was used already, or withdrawn: ask for another (isthmus fleet enrol)")
    if status == 403:
        raise RefusedTokenFailure(f"the token for {token.device} has expired: ask for another (isthmus fleet enrol)")
    if status != 200:
        raise TransportFailure(f"the store answers {status}")
    try:
        found = enrolment.enrolment_from(sealing.unsealed(enrolment.SEALED, token.secret, content))
    except FormatError as error:
        # A portal's page comes with 200 as well, so this is not for ever.
        raise TransportFailure(f"what the store answers is not what this token opens: {error}") from None
    is_pinned = hashlib.sha256(found.root).hexdigest() == token.root_sha256
    if (found.fleet, found.device) != (token.fleet, token.device) or not is_pinned:
        raise RefusedTokenFailure("token and sealed object are not of the same enrolment: ask for another token")
    return found


def _claim(token: Token, nonce: bytes, transport: Transport) -> None:
    ours = enrolment.claim(token.secret, nonce)
    status = transport.put(token.claim_url, ours, _ONLY_NEW)
    if status in STORED:
        return
    if status == 403:
        raise RefusedTokenFailure(f"the token for {token.device} has expired: ask for another (isthmus fleet enrol)")
    if status not in _CONFLICTS:
        raise TransportFailure(f"the store answers {status}")
    # The answer to this device's own claim may have been lost.
    status, found = fetched(token.claimed_url, transport, enrolment.CLAIM_BYTES)
    if status != 200:
        raise TransportFailure(f"the store answers {status}")
    if found != ours:
        raise RefusedTokenFailure(
            f"the token for {token.device} was used already, by another device or from another folder. If that was not you, remove the "
            "device (isthmus fleet remove) and ask for another token"
        )


def _discard(token: Token, transport: Transport) -> None:
    """The sealed object is of no more use. Where it stays, the operator's next look at the roster removes it."""
    with suppress(RepositoryFailure):
        transport.delete(token.discard_url)


def _keep(file: Path, kept: _Kept) -> None:
    value = {"claim": kept.claim, "nonce": kept.nonce.hex(), "enrolment": numbers.load(kept.enrolment.to_json(), "", _MOST_BYTES)}
    try:
        durable.make_folder(file.parent)
        durable.write_document(file, value)
    except OSError as error:
        raise DeviceFailure(f"cannot keep the enrolment in {file.parent}: {error.strerror or error}") from error


def _kept(file: Path) -> _Kept | None:
    try:
        found = numbers.fields(durable.read_document(file), "", ("claim", "nonce", "enrolment"))
        whole = enrolment.enrolment_from(numbers.dump(found["enrolment"]))
        return _Kept(str(found["claim"]), bytes.fromhex(str(found["nonce"])), whole)
    except ValueError:  # FormatError is one
        return None
