"""Devices that join and leave, as the commands do it: the fleet's secret, devices' credentials, the identities of a store."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import Located, fleet_of, founded, keyring_of
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.access import Area, DeviceAccess, derived_access, read_identities, with_identities
from isthmus.repository.enrolment import DeviceStore, issue
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import KeyNotAtHandError, private_text
from isthmus.repository.publish import assignment_in
from isthmus.repository.reading import Current, check_not_expired
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats.enrolment import Token
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


def rekey(options: Repository, fleet: str, console: Console) -> None:
    """Gives a fleet a new secret. Raises IsthmusError."""
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, fleet)
    new, former = roster.renew_secret(fleet, keyring.folder)
    for line in (
        f"fleet {fleet} has a new secret: {new}. The former one is {former}: remove it once all devices have joined again",
        f"until then nothing that they say counts. Now: isthmus fleet enrol --fleet {fleet} --token-folder FOLDER, with --identities or "
        "--access, and isthmus-agent enrol on each device; of devices that a stack runs, and of sealed bundles: pulumi up --refresh",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Ways:
    """How devices come by their credentials in the store: by SeaweedFS's file of identities, or such (`file:`, `env:`) that were made for
    them. `{device}` in a URI is a device's name."""

    identities: Path | None
    access: str

    def check(self) -> None:
        """Before there is a token that nobody is told. Raises InputError."""
        if bool(self.identities) == bool(self.access):
            what = "both are given" if self.access else "neither is given: the device would have no credentials in the store"
            raise InputError([Problem("--identities, --access", what, "one of the two")])
        if self.identities:
            read_identities(self.identities)

    def made_for(self, devices: Iterable[str], folder: Path, secret: bytes, fleet: str) -> Callable[[Device], DeviceAccess]:
        """A device's credentials. Raises InputError, which repeats nothing of them, and KeyNotAtHandError, before there is a token."""
        if not self.access:
            return lambda device: derived_access(secret, fleet, device)
        found = {name: _access_at(self.access.replace("{device}", name), folder) for name in devices}
        return lambda device: found[device.name]


def _access_at(uri: str, folder: Path) -> DeviceAccess:
    try:
        found = json.loads(private_text(uri, folder))
        return DeviceAccess(str(found["access_key"]), str(found["secret_key"]))
    except (ValueError, KeyError, TypeError):
        expected = 'JSON: {"access_key": …, "secret_key": …}'
        raise InputError([Problem("--access", f"{uri} has no credentials", expected)]) from None


@dataclass(frozen=True)
class Given:
    """tokens: by device."""

    tokens: Mapping[str, Token]
    secret: Secret


def give(
    found: Located,
    keyring: Keyring,
    fleet: str,
    wanted: Callable[[Roster], Sequence[Wanted]],
    ways: Ways,
    *,
    hours: int,
    secret_uri: str = "",
    device_store: Located | None = None,
) -> Given:
    """Tokens for devices, whom the store then knows. wanted: by the roster in force. device_store: as devices reach it.

    Raises IsthmusError, of a mistake before anything is written.
    """
    current = founded(found.place, keyring)
    check_not_expired(current)
    before = roster.read(found.place, keyring, fleet)
    devices, area = wanted(before), area_of(found, fleet)
    secret = secret_of(keyring, fleet, secret_uri, before)
    reached = device_store or found
    tokens = issue(
        found.place,
        keyring,
        fleet,
        devices,
        secret=secret.content,
        access=ways.made_for([it.name for it in devices], keyring.folder, secret.content, fleet),
        store=DeviceStore(reached.where, reached.region, reached.place.objects),
        valid_seconds=3600 * hours,
    )
    if ways.identities:
        write_identities(ways.identities, area, roster.read(found.place, keyring, fleet), secret.content, sampled_in(current, fleet))
    return Given({it.device: it for it in tokens}, secret)


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
    document = with_identities(read_identities(file), area, found.everybody, secret, sampled)
    write_secretly(file.with_name(f"{file.name}.new"), json.dumps(document, indent=1).encode())
    file.with_name(f"{file.name}.new").replace(file)
    return len(found.everybody)


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
