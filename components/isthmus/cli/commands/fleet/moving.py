"""`isthmus fleet move`: tokens for devices of a former version, in one last document by its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.fleet.enrolling import access_from, area_of, sampled_in, secret_of, write_identities
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of, with_keys
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.access import read_identities
from isthmus.repository.enrolment import DeviceStore, Wanted, issue
from isthmus.repository.keys import private_signer
from isthmus.repository.moving import device_names, former_devices, publish_moved
from isthmus.repository.reading import check_not_expired


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is said of the devices and their tokens, as it is typed."""

    fleet: str
    former_key: str
    devices: Sequence[str]
    device_class: str
    hours: int
    identities: Path | None
    access: str
    secret: str


def move(options: Repository, asked: Asked, keys: Sequence[str], console: Console) -> None:
    """Prints who may move over. Raises IsthmusError."""
    if bool(asked.identities) == bool(asked.access):
        what = "both are given" if asked.access else "neither is given: the devices would have no credentials in the store"
        raise InputError([Problem("--identities, --access", what, "one of the two")])
    if asked.identities:
        read_identities(asked.identities)  # before there are tokens that nobody is told
    private_signer(asked.former_key, Path.cwd())
    keyring = with_keys(keyring_of(options), keys)
    fleet = fleet_of(keyring, asked.fleet)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        current = founded(found.place, keyring)
        check_not_expired(current)
        devices = device_names(asked.devices) or former_devices(found.place.objects, found.place.prefix)
        if not devices:
            what = f"no device of a former version has reported below {found.place.prefix or 'the bucket'}"
            raise InputError([Problem("--device", what, "the devices by name", "--device NAME for each")])
        secret = secret_of(keyring, fleet, asked.secret, roster.read(found.place, keyring, fleet)).content
        tokens = {
            name: issue(
                found.place,
                keyring,
                fleet,
                Wanted(name, asked.device_class),
                secret=secret,
                access=access_from(asked.access, keyring.folder, secret, fleet),
                store=DeviceStore(found.where, found.region, found.place.objects),
                valid_seconds=3600 * asked.hours,
            ).text()
            for name in devices
        }
        if asked.identities:
            sampled = sampled_in(current, fleet)
            write_identities(asked.identities, area_of(found, fleet), roster.read(found.place, keyring, fleet), secret, sampled)
        publish_moved(found.place, fleet, tokens, asked.former_key, Path.cwd())
    console.print(
        f"{', '.join(devices)} may move over within {asked.hours} hours: install isthmus-agent there, then "
        "isthmus-agent enrol --former FILE, with the former agent's configuration. isthmus fleet devices shows who has",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
