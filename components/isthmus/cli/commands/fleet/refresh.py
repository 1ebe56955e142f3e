"""`isthmus fleet refresh`: what may be asked."""

from dataclasses import dataclass

import typer

from isthmus.cli.shared.options import Repository, SignWith


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    key: SignWith = None


def run(options: Options) -> None:
    """Signs anew what would expire, and says what waits for keys that are not here.

    Raises IsthmusError, typer.Exit where what waits has expired.
    """
    from datetime import UTC, datetime

    from rich.console import Console

    from isthmus.cli.commands.fleet.upkeep import refreshed
    from isthmus.cli.shared.repositories import explained, keyring_of, located_of, with_keys

    keyring = with_keys(keyring_of(options), options.key or ())
    found = located_of(options, keyring.fleets)
    with explained(options.keys, found.where):
        text, is_well = refreshed(found.place, keyring, datetime.now(UTC))
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    if not is_well:
        raise typer.Exit(1)
