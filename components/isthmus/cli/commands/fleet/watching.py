"""Looking at a fleet's rollout again and again, for who looks on."""

from collections.abc import Callable, Mapping
from typing import Any

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import observed

Looking = Callable[[], Mapping[str, Any]]
"""`Standing.data()` as of now. Raises IsthmusError."""


def watched(options: Repository, fleet: str, secret_uri: str) -> Looking:
    """How the fleet that is meant is looked at. Raises IsthmusError; the secret need not be here unless it was said where it is."""
    keyring = keyring_of(options)
    name = fleet_of(keyring, fleet)
    found = located_of(options, [name])
    secret, _ = roster.secret_at_hand(name, keyring.folder, secret_uri)
    its = Fleet(found.place, keyring, name, secret)

    def look() -> Mapping[str, Any]:
        with explained(options.keys, found.where):
            founded(its.place, keyring)
            standing = observed(its)
        if standing is None:
            raise InputError([Problem("FLEET", f"{name} was told nothing yet", "a fleet that a release was published to")])
        return standing.data()

    return look
