"""`isthmus fleet counts`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import FleetOption, Repository, SecretUri


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: FleetOption = ""
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write them here, a file a device, for isthmus policy.")] = None
    secret: SecretUri = ""


def run(options: Options) -> None:
    """Shows what devices have told of how their network and load change. Raises IsthmusError, typer.Exit where some cannot be read."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.counting import shown

    if not shown(options, options.fleet, options.out, options.secret, Console()):
        raise typer.Exit(1)
