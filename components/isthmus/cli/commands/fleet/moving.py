"""`isthmus fleet move`: tokens for devices of a former version, in one last document by its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.fleet.enrolling import Ways, give
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, keyring_of, located_of, with_keys
from isthmus.errors import InputError, Problem
from isthmus.repository.keys import private_signer
from isthmus.repository.moving import device_names, former_devices, publish_moved
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats.roster import Roster


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
    ways = Ways(asked.identities, asked.access)
    ways.check()
    private_signer(asked.former_key, Path.cwd())
    keyring = with_keys(keyring_of(options), keys)
    fleet = fleet_of(keyring, asked.fleet)
    found = located_of(options, [fleet])

    def wanted(_: Roster) -> list[Wanted]:
        devices = device_names(asked.devices) or former_devices(found.place.objects, found.place.prefix)
        if not devices:
            what = f"no device of a former version has reported below {found.place.prefix or 'the bucket'}"
            raise InputError([Problem("--device", what, "the devices by name", "--device NAME for each")])
        return [Wanted(name, asked.device_class) for name in devices]

    with explained(options.keys, found.where):
        given = give(found, keyring, fleet, wanted, ways, hours=asked.hours, secret_uri=asked.secret)
        publish_moved(found.place, fleet, {name: it.text() for name, it in given.tokens.items()}, asked.former_key, Path.cwd())
    console.print(
        f"{', '.join(given.tokens)} may move over within {asked.hours} hours: install isthmus-agent there, then "
        "isthmus-agent enrol --former FILE, with the former agent's configuration. isthmus fleet devices shows who has",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
