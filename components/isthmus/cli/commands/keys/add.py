"""`isthmus keys add`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import DryRun, Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    fleet: Annotated[str, typer.Argument(help="The new fleet.")]
    key: Annotated[str, typer.Option("--key", metavar="URI[,PUBLIC.pem]", help="The fleet's key, instead of a new file.")] = ""
    dry_run: DryRun = False


def run(options: Options) -> None:
    """Adds a fleet to a repository. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.making import add

    add(options, options.fleet, options.key, Console(), dry_run=options.dry_run)
