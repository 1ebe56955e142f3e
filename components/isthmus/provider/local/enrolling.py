"""Devices of this machine, enrolled with tokens as any other: the operator's side and the device's side in one process."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import PlatformError
from isthmus.provider.local.enrolled import is_of_another_secret
from isthmus.release.store import Store, StoreAddress
from isthmus.repository import enrolment
from isthmus.repository.access import DeviceAccess
from isthmus.repository.enrolment import DeviceStore
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats.enrolment import Enrolment
from isthmus_agent.formats.roster import Device, Roster
from isthmus_agent.manager.enrolment import enrol, enrolled
from isthmus_agent.manager.failures import RepositoryFailure

TOKEN_SECONDS = 600


@dataclass(frozen=True)
class Here:
    """The fleet as this machine's devices reach it. url: of the bucket with the prefix. folders: of the devices, by name."""

    place: Place
    keyring: Keyring
    fleet: str
    url: str
    region: str
    folders: Mapping[str, Path]


@dataclass(frozen=True)
class Access:
    """What keys are made of. secret: the fleet's. make: a device's credentials in the store."""

    secret: bytes = field(repr=False)
    make: Callable[[Device], DeviceAccess]


def is_enrolled(here: Here, device: Wanted, roster: Roster, secret: bytes) -> bool:
    """Whether the device is in the roster, and its folder has what it was given then. secret: the fleet's, of which keys are made."""
    found, known = enrolled(here.folders[device.name]), roster.by_name().get(device.name)
    if found is None or known is None or found.generation != known.generation:
        return False
    if is_of_another_secret(here.folders[device.name], secret, here.fleet):
        return False
    told = (found.device_class, dict(found.labels), found.url)
    return told == (device.device_class, dict(device.labels), here.url) and _trusts(here.keyring, found) and _same(device, known)


def enrol_here(here: Here, device: Wanted, roster: Roster, access: Access) -> None:
    """Gives a device a token, and uses it. roster: in force. Raises IsthmusError."""
    folder = here.folders[device.name]
    before = enrolled(folder)
    if before is not None and not (_trusts(here.keyring, before) and roster.next_generation(device.name) > before.generation):
        # Of a repository that is no more: it remembers later versions than this one has, and would follow nothing that it is told.
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (token,) = enrolment.issue(
        here.place,
        here.keyring,
        here.fleet,
        [device],
        secret=access.secret,
        access=access.make,
        store=DeviceStore(here.url, here.region, here.place.objects),
        valid_seconds=TOKEN_SECONDS,
    )
    try:
        enrol(token.text(), folder)
    except RepositoryFailure as failure:
        raise PlatformError(f"{device.name} cannot be enrolled: {failure}") from failure


def own_store(address: Mapping[str, Any], bucket: str, access_key: str, secret_key: str) -> Store:
    """The store as somebody with these credentials sees it."""
    return Store(StoreAddress.from_inputs({**address, "access_key": access_key, "secret_key": secret_key}), bucket)


def _same(device: Wanted, known: Device) -> bool:
    return (device.device_class, dict(device.labels)) == (known.device_class, dict(known.labels))


def _trusts(keyring: Keyring, found: Enrolment) -> bool:
    """Whether the root that a device was enrolled with is one of this key ring's."""
    version = json.loads(found.root)["signed"]["version"]
    return found.root in (keyring.root_at(int(version)), keyring.anchor())
