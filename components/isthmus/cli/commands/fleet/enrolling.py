"""Devices that join and leave, as the commands do it: the fleet's secret, devices' credentials, the identities of a store."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.cli.shared.repositories import Located
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.access import Area, DeviceAccess, derived_access, read_identities, with_identities
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import KeyNotAtHandError, private_text
from isthmus.repository.publish import assignment_in
from isthmus.repository.reading import Current
from isthmus_agent.formats.roster import Device, Roster


@dataclass(frozen=True)
class Secret:
    """A fleet's secret. is_new: it was made just now."""

    content: bytes
    uri: str
    is_new: bool = False


def secret_of(keyring: Keyring, fleet: str, uri: str, found: Roster) -> Secret:
    """The fleet's secret; a new one where it has no devices yet and none was named. Raises InputError, KeyNotAtHandError."""
    default = roster.secret_uri(fleet)
    try:
        return Secret(roster.fleet_secret(uri or default, keyring.folder), uri or default)
    except KeyNotAtHandError:
        if uri or found.devices or found.pending or found.removed:
            raise
    return Secret(roster.make_secret(default, keyring.folder), default, is_new=True)


def access_from(uri: str, folder: Path, secret: bytes, fleet: str) -> Callable[[Device], DeviceAccess]:
    """How a device's credentials are made: those at a `file:` or `env:` URI, where one is named, else such that follow from the secret.

    Raises InputError, which repeats nothing of them, and KeyNotAtHandError.
    """
    if not uri:
        return lambda device: derived_access(secret, fleet, device)
    try:
        found = json.loads(private_text(uri, folder))
        access = DeviceAccess(str(found["access_key"]), str(found["secret_key"]))
    except (ValueError, KeyError, TypeError):
        expected = 'JSON: {"access_key": …, "secret_key": …}'
        raise InputError([Problem("--access", f"{uri} has no credentials", expected)]) from None
    return lambda _: access


def labels_from(words: Sequence[str]) -> dict[str, str]:
    """Labels as they are typed. Raises InputError."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in found:
            raise InputError([Problem("--label", f"{word!r}", "NAME=VALUE, each name once")])
        found[name] = value
    return found


def sampled_in(current: Current, fleet: str) -> Mapping[str, str] | None:
    """Labels of the devices that may write samples, by what the fleet is told; None: none may."""
    metadata = current.delegated.get(fleet)
    told = assignment_in(metadata, fleet) if metadata else None
    return told.samples.labels if told and told.samples else None


def write_identities(file: Path, area: Area, found: Roster, secret: bytes, sampled: Mapping[str, str] | None) -> int:
    """Lets the fleet's devices into a SeaweedFS, and nobody who left; how many identities they have. Raises InputError."""
    devices = [*found.devices, *(it.device for it in found.pending)]
    document = with_identities(read_identities(file), area, devices, secret, sampled)
    write_secretly(file.with_name(f"{file.name}.new"), json.dumps(document, indent=1).encode())
    file.with_name(f"{file.name}.new").replace(file)
    return len(devices)


def write_secretly(file: Path, content: bytes) -> None:
    """A new file for its owner alone. Raises InputError where there is one, or it cannot be."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise InputError([Problem(str(file), error.strerror or "cannot be written", "a new file")]) from error


def area_of(found: Located, fleet: str) -> Area:
    """Where the store's policies say that the fleet is. Raises InputError."""
    bucket = found.where.removesuffix(f"/{found.place.prefix}").rpartition("/")[2]
    return Area(bucket, found.place.prefix, fleet)
