"""`isthmus fleet enrol`: tokens, of which that of a single device is alone on standard output; and what is said beside them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.fleet.enrolling import Ways, give, labels_from, write_secretly
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, keyring_of, located_at, located_of, with_keys
from isthmus.errors import InputError, Problem
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats.roster import Roster

DEFAULT_CLASS = "default"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is said of tokens, as it is typed. device: empty: every device of the roster, with a folder for their tokens."""

    device: str
    fleet: str
    device_class: str
    labels: Sequence[str]
    hours: int
    token_file: Path | None
    token_folder: Path | None
    identities: Path | None
    access: str
    device_store: str
    secret: str


def enrol(options: Repository, asked: Asked, keys: Sequence[str], console: Console) -> None:
    """console: for everything but the token. Raises IsthmusError."""
    _check(asked)
    ways, labels = Ways(asked.identities, asked.access), labels_from(asked.labels)
    ways.check()
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, asked.fleet)
    keyring = with_keys(keyring, keys)
    found = located_of(options, [fleet])
    device_store = located_at(asked.device_store, "--device-store") if asked.device_store else None
    if asked.token_file and asked.token_file.exists():
        raise InputError([Problem("--token-file", f"{asked.token_file} exists already", "a new file")])

    def wanted(before: Roster) -> list[Wanted]:
        if asked.token_folder:
            return _without_token(before, asked.token_folder)
        return [Wanted(asked.device, asked.device_class or DEFAULT_CLASS, labels)]

    with explained(options.keys, found.where):
        given = give(found, keyring, fleet, wanted, ways, hours=asked.hours, secret_uri=asked.secret, device_store=device_store)
    texts = {name: f"{it.text()}\n" for name, it in given.tokens.items()}
    if asked.token_folder:
        _write(asked.token_folder, texts)
    if given.secret.is_new:
        console.print(
            f"made the fleet's secret, {given.secret.uri}: all devices' keys follow from it; keep a copy, and commit it nowhere",
            markup=False,
        )
    if asked.identities:
        console.print(f"{asked.identities} has it; a SeaweedFS that runs reads the file again on SIGHUP", markup=False)
    whose = f"{asked.device} joins fleet {fleet} when it uses the token"
    if asked.token_folder:
        whose = (
            f"{asked.token_folder} has {len(texts)} new tokens; each device of fleet {fleet} has new keys when it uses the one of its name"
        )
    console.print(f"{whose}: isthmus-agent enrol, within {asked.hours} hours, once. Whoever has the token is that device", markup=False)
    if asked.token_file:
        write_secretly(asked.token_file, texts[asked.device].encode())
    elif not asked.token_folder:
        sys.stdout.write(texts[asked.device])


def _check(asked: Asked) -> None:
    if bool(asked.device) == bool(asked.token_folder):
        what = "both are given" if asked.device else "no device is named"
        fix = "--token-folder FOLDER is for tokens of all devices of the roster"
        raise InputError([Problem("device", what, "a device, or --token-folder", fix)])
    own = {"--class": asked.device_class, "--label": asked.labels, "--token-file": asked.token_file}
    if asked.token_folder and (wrong := [name for name, value in own.items() if value]):
        raise InputError([Problem(name, "is of one device", "nothing: devices keep their class and labels") for name in wrong])


def _without_token(before: Roster, folder: Path) -> list[Wanted]:
    """Devices of the roster, and those that were sent a token, that have none in the folder."""
    known = {it.name: it for it in before.everybody}
    return [Wanted(it.name, it.device_class, it.labels) for it in known.values() if not _file(folder, it.name).exists()]


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in texts.items():
        write_secretly(_file(folder, name), text.encode())


def _file(folder: Path, device: str) -> Path:
    return folder / f"{device}.token"
