"""What the handlers of a fleet share: its place in the store, its key ring, its secret."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import InputError, Problem
from isthmus.plugin.schema import Property
from isthmus.plugin.values import is_known
from isthmus.provider.handlers.stores import BUCKET, PREFIX, STORE, open_store

if TYPE_CHECKING:
    from isthmus.repository.keyring import Keyring
    from isthmus.repository.objects import Place
    from isthmus.rollouts.contents import Make
    from isthmus.rollouts.intent import Fleet

FLEET: Final = Property("string", "the fleet's name", replaces=True)
# Each machine has it elsewhere.
KEYS: Final = Property("string", "the folder of the key ring; private keys are in no state", compared=False)

PLACE: Final = {"store": STORE, "bucket": BUCKET, "prefix": PREFIX, "fleet": FLEET, "keys": KEYS}
"""Inputs of each resource of a fleet."""


def place_of(values: Mapping[str, Any]) -> "Place":
    """Where the repository is. Raises InputError."""
    from isthmus.repository.objects import Place

    return Place(open_store(values), values["prefix"])


def keyring_of(values: Mapping[str, Any]) -> "Keyring":
    """Its key ring. Raises InputError."""
    from isthmus.repository.keyring import Keyring

    return Keyring.load(Path(values["keys"]))


def keyring_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a key ring that somebody has made, as far as that can be known yet."""
    from isthmus.repository.keyring import Keyring

    if not is_known([inputs["keys"], inputs["fleet"]]):
        return []
    folder, fleet = inputs["keys"], inputs["fleet"]
    try:
        keyring = Keyring.load(Path(folder))
    except InputError as error:
        fix = f"make one: isthmus keys init {fleet} --keys {folder}"
        return [Problem("keys", str(it), "the folder of a key ring", fix) for it in error.problems]
    if fleet in keyring.fleets:
        return []
    known = ", ".join(keyring.fleets) or "none"
    return [Problem("keys", f"the key ring has no fleet {fleet!r}", f"one of {known}", f"isthmus keys add {fleet} --keys {folder}")]


def fleet_of(values: Mapping[str, Any], *, reads_reports: bool = True) -> "Fleet":
    """The operator's side of the fleet. reads_reports: what devices say, for which its secret is needed. Raises InputError,
    KeyNotAtHandError."""
    from isthmus.repository import roster
    from isthmus.rollouts.intent import Fleet

    keyring, fleet = keyring_of(values), values["fleet"]
    secret = roster.fleet_secret(roster.secret_uri(fleet), keyring.folder) if reads_reports else None
    return Fleet(place_of(values), keyring, fleet, secret, make_of(values))


def make_of(values: Mapping[str, Any]) -> "Make":
    """How deltas are made: those that this machine has made are kept beside its releases, where a resource knows these."""
    from isthmus.release import deltas
    from isthmus.release.kept_deltas import KeptDeltas

    directory = values.get("cache_directory")
    return KeptDeltas.beside(Path(directory)).make if directory else deltas.make
