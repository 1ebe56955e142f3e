"""The roster of a fleet in its repository: who its devices are, signed by the roster's own key, so that the store cannot add or lose one.

A change is made from what is in force, and put over it and nothing else; of two at once the later one is made again, from what the other
left. The fleet's role stays as it is: a device that joins, moves or leaves changes nothing for any other.
"""

import os
import random
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import FILE, KeyNotAtHandError, path_of, private_text, write_private
from isthmus.repository.objects import Place, RacedError
from isthmus.repository.publish import publish_roster, read_roster
from isthmus.repository.reading import read as read_current
from isthmus_agent.formats import roster as rosters
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import LEAST_SECRET_BYTES
from isthmus_agent.formats.roster import Device, Roster

SECRET_BYTES: Final = 32
_TRIES: Final = 16
_MOST_PAUSE_SECONDS: Final = 0.5

Change = Callable[[Roster], Roster]


def secret_uri(fleet: str) -> str:
    """Where a fleet's secret is unless it is said: beside the key ring."""
    return f"{FILE}:{fleet}-devices.secret"


def make_secret(uri: str, folder: Path) -> bytes:
    """A new secret of a fleet, from which its devices' keys follow. Raises InputError where there is one already."""
    secret = os.urandom(SECRET_BYTES)
    write_private(uri, folder, b64encode(secret) + b"\n")
    return secret


def renew_secret(fleet: str, folder: Path) -> tuple[str, str]:
    """A new secret in place of the one beside the key ring, which is kept; where both are.

    Raises KeyNotAtHandError where there is none, InputError where a former one is still kept: devices may still have keys of that.
    """
    uri, former = secret_uri(fleet), f"{FILE}:{fleet}-devices.former.secret"
    fleet_secret(uri, folder)
    write_private(former, folder, private_text(uri, folder))
    part = f"{uri}.new"
    path_of(part, folder).unlink(missing_ok=True)
    make_secret(part, folder)
    path_of(part, folder).replace(path_of(uri, folder))
    return uri, former


def fleet_secret(uri: str, folder: Path) -> bytes:
    """The secret at a `file:` or `env:` URI, in base64. Raises KeyNotAtHandError, InputError; its value is in no message."""
    try:
        secret = b64decode(private_text(uri, folder).strip(), validate=True)
    except (Error, ValueError):
        secret = b""
    if len(secret) < LEAST_SECRET_BYTES:
        raise InputError([Problem("secret", f"{uri} is no fleet's secret", f"{LEAST_SECRET_BYTES} bytes or more in base64")])
    return secret


def secret_at_hand(fleet: str, folder: Path, uri: str = "") -> tuple[bytes | None, str]:
    """The fleet's secret, if it is here; else None, and why not. uri: where somebody said that it is: there it has to be.

    Raises as `fleet_secret`, but for a secret that is not beside the key ring.
    """
    try:
        return fleet_secret(uri or secret_uri(fleet), folder), ""
    except KeyNotAtHandError as error:
        if uri:
            raise
        return None, str(error)


def read(place: Place, keyring: Keyring, fleet: str) -> Roster:
    """The roster in force; empty where there is none yet. Raises IntegrityError where it cannot be read."""
    return _parsed(read_roster(place, read_current(place, keyring.anchor()), _of(keyring, fleet)), fleet)


def change(place: Place, keyring: Keyring, fleet: str, how: Change, *, now: datetime | None = None) -> Roster:
    """Changes the roster; what is in force then. Nothing is written where the change changes nothing.

    how: may be called more than once, when somebody else publishes at the same time. Errors as for `publish`.
    """
    name = _of(keyring, fleet)
    found = Roster(fleet)

    def changed(content: bytes) -> bytes:
        nonlocal found
        before = _parsed(content, fleet)
        found = how(before)
        return content if found == before else found.to_json()

    for left in reversed(range(_TRIES)):
        try:
            publish_roster(place, keyring, changed, name=name, now=now)
        except RacedError:
            if not left:
                raise
            time.sleep(random.uniform(0, _MOST_PAUSE_SECONDS))  # noqa: S311 - so that racing operators come apart
        else:
            keyring.keep_roster(name, found.to_json())
            return found
    raise AssertionError("the last try returns or raises")


def put_device(place: Place, keyring: Keyring, fleet: str, device: Device, *, now: datetime | None = None) -> Roster:
    """Gives an enrolled device another class or other labels; its keys stay as they are. Raises InputError where there is none."""

    def put(roster: Roster) -> Roster:
        known = roster.by_name().get(device.name)
        if known is None:
            raise _unknown(fleet, device.name)
        return roster.with_device(Device(device.name, device.device_class, device.labels, known.generation))

    return change(place, keyring, fleet, put, now=now)


def remove_device(place: Place, keyring: Keyring, fleet: str, name: str, *, now: datetime | None = None) -> Roster:
    """Takes a device out, and the token that it may have. Its keys are nobody's any more. Raises InputError where there is none."""

    def without(roster: Roster) -> Roster:
        if name not in {*roster.by_name(), *(it.device.name for it in roster.pending)}:
            raise _unknown(fleet, name)
        return roster.without(name)

    return change(place, keyring, fleet, without, now=now)


def _unknown(fleet: str, name: str) -> InputError:
    return InputError([Problem("device", f"fleet {fleet} has no {name!r}", "a device of the roster", "see isthmus fleet devices")])


def _of(keyring: Keyring, fleet: str) -> str:
    if fleet not in keyring.fleets:
        raise InputError([Problem("fleet", f"the key ring has no fleet {fleet!r}", f"one of {', '.join(keyring.fleets)}")])
    return fleet


def _parsed(content: bytes, fleet: str) -> Roster:
    try:
        found = rosters.from_json(content) if content else Roster(fleet)
    except FormatError as error:
        raise IntegrityError(f"the roster in force cannot be read: {error}") from error
    if found.fleet != fleet:
        raise IntegrityError(f"the roster of fleet {fleet} is one of {found.fleet}")
    return found
