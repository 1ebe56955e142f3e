"""Enrolment without a service: tokens that are used once, on the operator's side. `isthmus_agent.formats.enrolment` says how they work.

A token is given in this order: the roster says that it waits (signed, with the name that its claim will have), the sealed object is put,
and only then is there a token to hand on. So nothing lies in the store that the roster does not know. Settling looks at the claims:
a claimed token's device joins, an expired one is forgotten, and the sealed objects of both are removed.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.release.store import MissingObjectError
from isthmus.repository import roster
from isthmus.repository.access import DeviceAccess
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import ROSTER, SNAPSHOT, TIMESTAMP, Objects, Place
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats import enrolment, numbers, sealing
from isthmus_agent.formats.enrolment import Enrolment, Token
from isthmus_agent.formats.numbers import DAY_SECONDS, FormatError
from isthmus_agent.formats.roster import MOST_PENDING, Device, Pending, Roster
from isthmus_agent.formats.sealed_contents import content_key

DEFAULT_SECONDS: Final = DAY_SECONDS
LATE_SECONDS: Final = 3600
"""After its end that a token is forgotten: the store's clock may be behind."""
_SEALED, _CLAIM = ".sealed", ".claim"


@dataclass(frozen=True)
class DeviceStore:
    """The store by the address that devices know it by. url: of the bucket with the prefix; ends with `/`.

    signs: addresses, with the operator's credentials.
    """

    url: str
    region: str
    signs: Objects = field(repr=False)


class Access(Protocol):
    """Makes a device's credentials in the store."""

    def __call__(self, device: Device, /) -> DeviceAccess: ...


def issue(
    place: Place,
    keyring: Keyring,
    fleet: str,
    wanted: Sequence[Wanted],
    *,
    secret: bytes,
    access: Access,
    store: DeviceStore,
    valid_seconds: int = DEFAULT_SECONDS,
    now: datetime | None = None,
) -> tuple[Token, ...]:
    """A token for each device, in their order, by one change of the roster. Another one for the same device that was not used is worth
    nothing after.

    secret: the fleet's. Raises InputError for names and times that cannot be, and errors as for `publish`.
    """
    now = now or datetime.now(UTC)
    _check(wanted, valid_seconds)
    secrets = [os.urandom(sealing.SECRET_BYTES) for _ in wanted]
    expires_seconds = int(now.timestamp()) + valid_seconds
    given: list[Device] = []

    def add(before: Roster) -> Roster:
        last = before.generations()
        given[:] = [it.device(last.get(it.name, -1) + 1) for it in wanted]
        waiting = [Pending(it, enrolment.claim_of(own), expires_seconds) for it, own in zip(given, secrets, strict=True)]
        after = before.with_pending(*waiting)
        if len(after.pending) > MOST_PENDING:
            raise InputError([Problem("devices", f"{len(after.pending)} tokens would wait", f"{MOST_PENDING} at most")])
        return after

    settle(place, keyring, fleet, now=now)
    roster.change(place, keyring, fleet, add, now=now)
    root, key = keyring.anchor(), content_key(secret, fleet)
    tokens = []
    for device, own in zip(given, secrets, strict=True):
        keys = access(device)
        found = Enrolment(
            fleet,
            device.name,
            device.device_class,
            device.labels,
            device.generation,
            store.url,
            store.region,
            keys.access_key,
            keys.secret_key,
            device.report_key(secret, fleet),
            root,
            key,
        )
        tokens.append(_token(place, found, own, store, valid_seconds=valid_seconds, expires_seconds=expires_seconds))
    return tuple(tokens)


def _token(place: Place, found: Enrolment, secret: bytes, store: DeviceStore, *, valid_seconds: int, expires_seconds: int) -> Token:
    """What opens an enrolment, which is put into the store sealed. secret: the token's."""
    name = enrolment.claim_of(secret)
    content = sealing.sealed(enrolment.SEALED, secret, found.to_json(), os.urandom(sealing.NONCE_BYTES))
    place.objects.put(_key(place, name, _SEALED), content)

    def signed(method: str, ending: str, *, only_new: bool = False) -> str:
        return store.signs.signed_url(method, _key(place, name, ending), valid_seconds=valid_seconds, only_new=only_new)

    return Token(
        found.fleet,
        found.device,
        expires_seconds,
        hashlib.sha256(found.root).hexdigest(),
        secret,
        sealed_url=signed("GET", _SEALED),
        discard_url=signed("DELETE", _SEALED),
        claim_url=signed("PUT", _CLAIM, only_new=True),
        claimed_url=signed("GET", _CLAIM),
    )


@dataclass(frozen=True)
class Settled:
    """roster: in force now. joined, expired: devices, by name."""

    roster: Roster
    joined: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def settle(place: Place, keyring: Keyring, fleet: str, *, now: datetime | None = None) -> Settled:
    """Lets in who has used its token, forgets tokens that have ended, and removes what is left of both in the store.

    Whoever counts devices calls this first. It writes nothing where nothing happened.
    """
    now = now or datetime.now(UTC)
    # Listed before the roster is read: the roster names a token before anything of it is in the store.
    left = place.objects.list(f"{place.prefix}enrol/")
    before = roster.read(place, keyring, fleet)
    claimed = {it.claim for it in before.pending if _is_claimed(place, it.claim, left)}
    ended = {it.claim for it in before.pending if it.expires_seconds + LATE_SECONDS < now.timestamp()} - claimed
    joined = tuple(it.device.name for it in before.pending if it.claim in claimed)
    expired = tuple(it.device.name for it in before.pending if it.claim in ended)

    def settled(found: Roster) -> Roster:
        for it in found.pending:
            if it.claim in claimed:
                found = found.joined(it.device.name)
            elif it.claim in ended:
                found = found.without_pending(it.device.name)
        return found

    after = roster.change(place, keyring, fleet, settled, now=now) if claimed or ended else before
    others = {it.claim for name in keyring.fleets if name != fleet and left for it in roster.read(place, keyring, name).pending}
    kept = {it.claim for it in after.pending} | others
    rest = [key for key in left if _name(place, key) not in kept]
    if rest:
        # The sealed ones first: a claim that is gone must not make a token good again.
        place.objects.delete([key for key in rest if key.endswith(_SEALED)])
        place.objects.delete([key for key in rest if not key.endswith(_SEALED)])
    return Settled(after, joined, expired)


def settle_if_possible(place: Place, keyring: Keyring, fleet: str, *, now: datetime | None = None) -> Settled:
    """As `settle` where the keys for it are here; else the roster as it is, for who only reads."""
    if all(keyring.can_sign(role) for role in (ROSTER, SNAPSHOT, TIMESTAMP)):
        return settle(place, keyring, fleet, now=now)
    return Settled(roster.read(place, keyring, fleet))


def withdraw(place: Place, keyring: Keyring, fleet: str, name: str, *, now: datetime | None = None) -> Roster:
    """Takes back a token that was not used. Raises InputError where there is none."""

    def without(found: Roster) -> Roster:
        if name not in {it.device.name for it in found.pending}:
            raise InputError([Problem("device", f"no token of fleet {fleet} waits for {name!r}", "a device that was sent one")])
        return found.without_pending(name)

    roster.change(place, keyring, fleet, without, now=now)
    return settle(place, keyring, fleet, now=now).roster


def _check(wanted: Sequence[Wanted], valid_seconds: int) -> None:
    problems = [found for it in wanted for found in it.problems()]
    try:
        numbers.integer(valid_seconds, "", 60, enrolment.MOST_SECONDS)
    except FormatError as error:
        problems.append(Problem("valid for", str(error)))
    if problems:
        raise InputError(problems)


def _is_claimed(place: Place, claim: str, left: list[str]) -> bool:
    key = _key(place, claim, _CLAIM)
    try:
        return key in left and enrolment.is_claim(place.objects.get(key, max_bytes=enrolment.CLAIM_BYTES), claim)
    except (MissingObjectError, IntegrityError):
        return False


def _key(place: Place, name: str, ending: str) -> str:
    return f"{place.prefix}enrol/{name}{ending}"


def _name(place: Place, key: str) -> str:
    return key.removeprefix(f"{place.prefix}enrol/").partition(".")[0]
