"""`isthmus fleet recover`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    roster: Annotated[
        list[Path] | None,
        typer.Option("--roster", metavar="FILE", help="A copy of a fleet's roster, should the store have lost it; may be repeated."),
    ] = None
    new_roster: Annotated[
        list[str] | None,
        typer.Option("--new-roster", metavar="FLEET", help="Begins an empty one, if it is lost and there is no copy: all enrol anew."),
    ] = None


def run(options: Options) -> None:
    """Mends a repository, and says what was wrong. Raises IsthmusError, typer.Exit where files have to be published again."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.upkeep import copies_of, recovered
    from isthmus.cli.shared.repositories import explained, keyring_of, located_of

    keyring = keyring_of(options)
    copies = copies_of(keyring, options.roster or (), options.new_roster or ())
    found = located_of(options, keyring.fleets)
    with explained(options.keys, found.where):
        text, is_well = recovered(found.place, keyring, copies)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    if not is_well:
        raise typer.Exit(1)
