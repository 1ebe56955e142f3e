"""`isthmus keys status`: what may be asked."""

from dataclasses import dataclass

import typer

from isthmus.cli.shared.options import Json, Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    as_json: Json = False


def run(options: Options) -> None:
    """Shows every role's keys. Without --store and --stack the key ring alone is looked at.

    Raises IsthmusError, typer.Exit where something has expired, or the repository has other keys.
    """
    import json
    from datetime import UTC, datetime

    from rich.console import Console

    from isthmus.cli.commands.keys.view import data, is_well, rendered, rows_of
    from isthmus.cli.shared.repositories import explained, founded, keyring_of, located_of
    from isthmus.repository import ceremony

    keyring = keyring_of(options)
    found = located_of(options, keyring.fleets) if options.store or options.stack else None
    with explained(options.keys, found.where if found else ""):
        current = founded(found.place, keyring) if found else None
        rows = rows_of(ceremony.status(keyring, current), current, datetime.now(UTC))
    console = Console()
    if options.as_json:
        console.print(json.dumps(data(rows), indent=2), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(rendered(rows))
        if not found:
            note = "the key ring alone: what is in force, and when it expires, needs --store or --stack"
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    if not is_well(rows):
        raise typer.Exit(1)
