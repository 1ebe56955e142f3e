"""`isthmus fleet samples`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import SAMPLES_KEY, FleetOption, Repository, SecretUri


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: FleetOption = ""
    key: Annotated[
        str,
        typer.Option("--key", metavar="URI", help="The owner's private key: env:NAME, or file:PATH from the key ring's folder on."),
    ] = SAMPLES_KEY
    out: Annotated[Path | None, typer.Option(help="A folder for samples.jsonl, a new file with a sample in each line.")] = None
    delete: Annotated[bool, typer.Option("--delete", help="Remove from the store what was opened.")] = False
    secret: SecretUri = ""


def run(options: Options) -> None:
    """Opens what devices have sent of what they were asked. Raises IsthmusError, typer.Exit where something could not be opened."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.opening import Asked, opened

    asked = Asked(options.fleet, options.key, options.out, options.delete, options.secret)
    if not opened(options, asked, Console()):
        raise typer.Exit(1)
