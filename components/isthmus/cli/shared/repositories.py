"""A fleet's repository as a command is told where it is: its place in a store, its key ring, and the keys that are here."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from isthmus.cli.shared.options import DEFAULT_KEYS, FLEET_STORE_VARIABLE, Repository
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.names import FLEET_REPOSITORY
from isthmus.observing.stack_state import StackState, read_stack
from isthmus.release.located import credential_variables, located
from isthmus.release.store import MissingBucketError, RefusedCredentialsError, Store, StoreAddress, UnreachableStoreError
from isthmus.repository.keyring import FILE_NAME, Keyring, NotEnoughKeysError, RoleKey
from isthmus.repository.keys import ENVIRONMENT, FILE, KeyNotAtHandError, public_key, scheme_of
from isthmus.repository.objects import ROOT, Place
from isthmus.repository.reading import Current, read

_OWN = credential_variables(FLEET_STORE_VARIABLE)


@dataclass(frozen=True)
class Located:
    """A repository. where: for people, and devices: the URL of the bucket with the prefix. region: of the store."""

    place: Place
    where: str
    region: str = ""


def keyring_of(options: Repository) -> Keyring:
    """The key ring: in the folder that was said; where there is none and nothing was said, the stack's own.

    Raises InputError where there is none, or it is damaged.
    """
    if options.keys == DEFAULT_KEYS and not options.store and not (DEFAULT_KEYS / FILE_NAME).exists():
        return Keyring.load(_keys_of_stack(options.stack) or options.keys)
    return Keyring.load(options.keys)


def _keys_of_stack(name: str) -> Path | None:
    """The key ring of a stack's fleets; None where it has none. Raises InputError where it has several."""
    try:
        state = read_stack(name)
    except IsthmusError:  # what is asked for is a key ring
        return None
    rings = sorted({str(it["keys"]) for it in state.resources.get(FLEET_REPOSITORY, {}).values() if "keys" in it})
    if len(rings) > 1:
        raise InputError([Problem("--keys", f"the fleets of stack {state.name!r} have several key rings", f"one of {', '.join(rings)}")])
    return Path(rings[0]) if rings else None


def located_of(options: Repository, fleets: Sequence[str]) -> Located:
    """Where the repository of these fleets is: what was said, else what the stack has. Raises IsthmusError."""
    if options.store and options.stack:
        raise InputError([Problem("--stack", f"is given beside --store (or {FLEET_STORE_VARIABLE})", "one of the two")])
    if options.store:
        return located_at(options.store, "--store")
    return _located(*in_stack(_stack(options.stack), fleets, os.environ))


def located_at(url: str, option: str) -> Located:
    """Where the repository at a URL is, with the credentials of the environment. Raises InputError."""
    return _located(*located(url, option, FLEET_STORE_VARIABLE, os.environ, "models"))


def _located(store: Store, prefix: str) -> Located:
    return Located(Place(store, prefix), f"{store.address.endpoint}/{store.bucket}/{prefix}", store.address.region)


def in_stack(state: StackState, fleets: Sequence[str], environment: Mapping[str, str]) -> tuple[Store, str]:
    """Where a stack has one of these fleets. Credentials of the environment, where it has its own for fleets, go before the stack's."""
    placed = [it for kind in state.resources.values() for it in kind.values() if {"store", "bucket", "prefix", "fleet"} <= set(it)]
    its = {str(it["fleet"]): it for it in placed}
    wanted = next((its[fleet] for fleet in fleets if fleet in its), None)
    if wanted is None:
        has = f"one of {', '.join(sorted(its))}" if its else "one that this stack deploys; it deploys none"
        what = f"stack {state.name!r} has no fleet {' or '.join(fleets)}"
        raise InputError([Problem("--stack", what, has, "another --stack, or --store URL")])
    own = {name: value for name, names in _OWN.items() if (value := environment.get(names[0]))}
    address = wanted["store"] if isinstance(wanted["store"], Mapping) else {}
    return Store(StoreAddress.from_inputs({**address, **own}), str(wanted["bucket"])), str(wanted["prefix"])


def _stack(name: str) -> StackState:
    try:
        return read_stack(name, show_secrets=True)
    except IsthmusError as error:
        raise IsthmusError(
            f"where the fleet's repository is was not said, and the stack does not say it: {error}; or give --store URL"
        ) from error


def fleet_of(keyring: Keyring, name: str) -> str:
    """The fleet that is meant. Raises InputError where the key ring has no such fleet, or none was named and it has several."""
    if name in keyring.fleets or (not name and len(keyring.fleets) == 1):
        return name or keyring.fleets[0]
    known = ", ".join(keyring.fleets) or "none: it has no fleets"
    what = f"the key ring {keyring.folder} has no fleet {name!r}" if name else "which fleet is not said, and the key ring has several"
    raise InputError([Problem("FLEET", what, f"one of {known}", "isthmus keys add FLEET adds one" if name else "")])


def with_keys(keyring: Keyring, uris: Iterable[str]) -> Keyring:
    """The key ring with these keys found where they are said to be, to be signed with and never saved.

    Raises InputError where one is none of the key ring's, IsthmusError where it is not here.
    """
    for uri in uris:
        keyring = _with_key(keyring, uri)
    return keyring


def _with_key(keyring: Keyring, uri: str) -> Keyring:
    every = [*(key for it in keyring.roles.values() for key in it.keys), *keyring.retired]
    if any(key.uri == uri for key in every):
        return keyring
    if scheme_of(uri) not in {FILE, ENVIRONMENT}:
        known = ", ".join(sorted({key.uri for key in every}))
        raise InputError([Problem("--key", f"{uri} is none of the key ring's", f"file:PATH, env:NAME, or one of {known}")])
    try:
        public = public_key(uri, keyring.folder)
    except KeyNotAtHandError as error:
        raise InputError([Problem("--key", str(error), "a private key that can be read here")]) from error
    if not any(key.public.keyval == public.keyval for key in every):
        what = f"{uri} is another key than any of the key ring {keyring.folder}"
        raise InputError([Problem("--key", what, "a key that signs for one of its roles", "see `isthmus keys status`")])

    def moved(keys: Iterable[RoleKey]) -> tuple[RoleKey, ...]:
        return tuple(RoleKey(uri, key.public) if key.public.keyval == public.keyval else key for key in keys)

    roles = {role: replace(it, keys=moved(it.keys)) for role, it in keyring.roles.items()}
    return replace(keyring, roles=roles, retired=moved(keyring.retired))


def founded(place: Place, keyring: Keyring) -> Current:
    """What is in force. Raises IsthmusError: InputError where no repository was ever put there."""
    if not place.objects.tag(place.timestamp_key) and not place.objects.tag(place.metadata_key(ROOT, 1)):
        what = f"there is no repository below {place.prefix or 'the bucket'}"
        raise InputError([Problem("--store", what, "a fleet's repository", "another place, or put it there: isthmus keys found")])
    return read(place, keyring.anchor())


def days_left(expires: datetime, now: datetime) -> str:
    """Such as `in 12 days`, `in 5 hours`, `expired 3 days ago`."""
    seconds = (expires - now).total_seconds()
    whole, unit = (abs(seconds) / 86_400, "days") if abs(seconds) >= 2 * 86_400 else (abs(seconds) / 3600, "hours")
    return f"in {whole:.0f} {unit}" if seconds > 0 else f"expired {whole:.0f} {unit} ago"


@contextmanager
def explained(path: Path, where: str = "") -> Iterator[None]:
    """Errors of the repository with what a user of a command can do about them. path: of the key ring."""
    try:
        yield
    except NotEnoughKeysError as error:
        fix = f"bring the key to where {path / 'keyring.json'} says it is, or say where it is here: --key env:NAME or file:PATH"
        raise IsthmusError(f"{error}. Fix: {fix}") from error
    except UnreachableStoreError as error:
        raise IsthmusError(f"{error}. Fix: see whether it runs, or give another --store") from error
    except RefusedCredentialsError as error:
        names = " and ".join(f"{_OWN[name][0]} (or {_OWN[name][1]})" for name in ("access_key", "secret_key"))
        raise IsthmusError(f"{error}. Fix: set {names}, of somebody who may write below {where or 'the prefix'}") from error
    except MissingBucketError as error:
        raise IsthmusError(f"{error}. Fix: another --store, or make the bucket") from error
