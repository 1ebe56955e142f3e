"""`isthmus keys init`, `found` and `add`: a key ring and its repository come into being."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from isthmus.cli.commands.keys import steps
from isthmus.cli.commands.keys.giving import by_role, wanted_key
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import Located, explained, founded, keyring_of, located_of
from isthmus.errors import InputError, Problem
from isthmus.repository import ceremony
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keyring import FILE_NAME, Keyring
from isthmus.repository.keys import FILE
from isthmus.repository.objects import ROOT, TARGETS


@dataclass(frozen=True)
class Root:
    """threshold: how many of the root's keys must sign. keys: how many it has, unless they are given."""

    threshold: int
    keys: int


def make(options: Repository, fleets: Sequence[str], keys: Sequence[str], root: Root, console: Console, *, dry_run: bool) -> None:
    """A new key ring; and its repository, where a place was said. keys: that are given, `ROLE=URI`. Raises IsthmusError."""
    folder = options.keys
    if (folder / FILE_NAME).exists():
        fix = "another --keys; or isthmus keys add FLEET, isthmus keys rotate ROLE"
        raise InputError([Problem(str(folder / FILE_NAME), "exists already", "a folder without a key ring", fix)])
    given = by_role(keys)
    wanted = ceremony.wanted_keys(fleets, root.keys, given)
    if root.threshold > len(wanted[ROOT]):
        what = f"{root.threshold} of {len(wanted[ROOT])} keys would have to sign"
        raise InputError([Problem("--threshold", what, "no more than the root has keys", "raise --root-keys")])
    found = located_of(options, fleets) if options.store or options.stack else None
    console.print(steps.table(wanted, {role: root.threshold if role == ROOT else 1 for role in wanted}))
    files = steps.new_files(folder, [key for its in wanted.values() for key in its])
    steps.say(
        console,
        f"key ring {folder.absolute()}: {len(files)} private keys are made in it" + (f"; repository {found.where}" if found else ""),
    )
    if dry_run:
        return
    keyring = ceremony.init(folder, fleets, threshold=root.threshold, root_keys=root.keys, given=given)
    steps.keep_out_of_git(folder)
    steps.say_made(console, files)
    steps.say(console, f"made {(folder / FILE_NAME).absolute()}, root.json and 1.root.json: without secrets, to be committed")
    if found:
        found_repository(options, keyring, found, console)
    else:
        steps.say(console, "next: `isthmus keys found` with --store or --stack; then take the offline keys away from here")


def found_repository(options: Repository, keyring: Keyring, found: Located, console: Console) -> None:
    """Puts the repository into its store, unless it is there. Raises IsthmusError."""
    with explained(options.keys, found.where):
        is_new = ceremony.found(found.place, keyring)
    steps.say(console, f"founded the repository {found.where}" if is_new else f"the repository is there already: {found.where}")


def add(options: Repository, fleet: str, key: str, console: Console, *, dry_run: bool) -> None:
    """Another fleet in a repository. Raises IsthmusError."""
    keyring = keyring_of(options)
    if fleet in keyring.fleets:
        raise InputError(
            [Problem("FLEET", f"the key ring has {fleet!r} already", "another one", "isthmus keys resume ends what was begun")]
        )
    wanted = wanted_key(key) if key else WantedKey(f"{FILE}:{fleet}-1.pem")
    ceremony.wanted_keys([fleet])  # whether a fleet may have that name
    found = located_of(options, keyring.fleets)
    console.print(steps.table({fleet: [wanted]}, {fleet: 1}))
    steps.say(console, f"the new list of fleets is signed by {TARGETS}, in {found.where}")
    if dry_run:
        return
    files = steps.new_files(options.keys, [wanted])
    with steps.stepping(options, found.where):
        founded(found.place, keyring)
        steps.check_at_hand(keyring, [fleet])
        ceremony.add_fleet(found.place, keyring, fleet, wanted)
    steps.say_made(console, files)
    steps.say(console, f"{fleet} is a fleet of the repository {found.where}")
