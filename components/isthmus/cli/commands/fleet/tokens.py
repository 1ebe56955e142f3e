"""`isthmus fleet enrol`: the token, which is the one thing on standard output, and what is said beside it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.fleet.enrolling import access_from, area_of, labels_from, sampled_in, secret_of, write_identities, write_secretly
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_at, located_of, with_keys
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.access import read_identities
from isthmus.repository.enrolment import DeviceStore, Wanted, issue
from isthmus.repository.reading import check_not_expired


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is said of the device and its token, as it is typed."""

    device: str
    fleet: str
    device_class: str
    labels: Sequence[str]
    hours: int
    token_file: Path | None
    identities: Path | None
    access: str
    device_store: str
    secret: str


def enrol(options: Repository, asked: Asked, keys: Sequence[str], console: Console) -> None:
    """console: for everything but the token. Raises IsthmusError."""
    if bool(asked.identities) == bool(asked.access):
        what = "both are given" if asked.access else "neither is given: the device would have no credentials in the store"
        raise InputError([Problem("--identities, --access", what, "one of the two")])
    if asked.identities:
        read_identities(asked.identities)  # before there is a token that nobody is told
    labels = labels_from(asked.labels)
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, asked.fleet)
    keyring = with_keys(keyring, keys)
    found = located_of(options, [fleet])
    device_store = located_at(asked.device_store, "--device-store") if asked.device_store else found
    if asked.token_file and asked.token_file.exists():
        raise InputError([Problem("--token-file", f"{asked.token_file} exists already", "a new file")])
    with explained(options.keys, found.where):
        current = founded(found.place, keyring)
        check_not_expired(current)
        secret = secret_of(keyring, fleet, asked.secret, roster.read(found.place, keyring, fleet))
        area = area_of(found, fleet)
        token = issue(
            found.place,
            keyring,
            fleet,
            Wanted(asked.device, asked.device_class, labels),
            secret=secret.content,
            access=access_from(asked.access, keyring.folder, secret.content, fleet),
            store=DeviceStore(device_store.where, device_store.region, device_store.place.objects),
            valid_seconds=3600 * asked.hours,
        )
        if asked.identities:
            write_identities(asked.identities, area, roster.read(found.place, keyring, fleet), secret.content, sampled_in(current, fleet))
    if secret.is_new:
        console.print(
            f"made the fleet's secret, {secret.uri}: all devices' keys follow from it; keep a copy, and commit it nowhere", markup=False
        )
    if asked.identities:
        console.print(f"{asked.identities} has it; a SeaweedFS that runs reads the file again on SIGHUP", markup=False)
    console.print(
        f"{asked.device} joins fleet {fleet} when it uses the token: isthmus-agent enrol, within {asked.hours} hours, once. "
        "Whoever has the token is that device",
        markup=False,
    )
    if asked.token_file:
        write_secretly(asked.token_file, f"{token.text()}\n".encode())
    else:
        sys.stdout.write(f"{token.text()}\n")
