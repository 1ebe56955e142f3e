"""`isthmus keys found`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""


def run(options: Options) -> None:
    """Puts the empty repository of a new key ring into a store. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.making import found_repository
    from isthmus.cli.shared.repositories import keyring_of, located_of

    keyring = keyring_of(options)
    found_repository(options, keyring, located_of(options, keyring.fleets), Console())
