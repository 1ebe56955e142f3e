"""`isthmus fleet recover`: what may be asked."""

from dataclasses import dataclass

import typer

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""


def run(options: Options) -> None:
    """Mends a repository, and says what was wrong. Raises IsthmusError, typer.Exit where files have to be published again."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.upkeep import recovered
    from isthmus.cli.shared.repositories import explained, keyring_of, located_of

    keyring = keyring_of(options)
    found = located_of(options, keyring.fleets)
    with explained(options.keys, found.where):
        text, is_well = recovered(found.place, keyring)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    if not is_well:
        raise typer.Exit(1)
