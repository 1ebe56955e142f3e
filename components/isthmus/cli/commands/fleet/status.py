"""`isthmus fleet status`: what may be asked."""

from dataclasses import dataclass

import typer

from isthmus.cli.shared.options import Fleet, Json, Repository, SecretUri


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    as_json: Json = False
    secret: SecretUri = ""


def run(options: Options) -> None:
    """Shows what a fleet is told, and what its devices say where its secret is here. It needs no private key.

    Raises IsthmusError, typer.Exit where a signature has expired.
    """
    import json
    from datetime import UTC, datetime

    from rich.console import Console

    from isthmus.cli.commands.fleet.said import seen_of
    from isthmus.cli.commands.fleet.view import data, read_told, rendered
    from isthmus.cli.shared.repositories import explained, fleet_of, keyring_of, located_of

    keyring = keyring_of(options)
    fleet = fleet_of(keyring, options.fleet)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        told = read_told(found, keyring, fleet)
        seen = seen_of(found.place, keyring, fleet, options.secret) if told.assignment else None
    now = datetime.now(UTC)
    console = Console()
    if options.as_json:
        console.print(json.dumps(data(told, seen), indent=2), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(rendered(told, now, seen))
    if told.expired(now):
        raise typer.Exit(1)
