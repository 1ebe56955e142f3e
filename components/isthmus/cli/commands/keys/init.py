"""`isthmus keys init`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import DryRun, Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    fleets: Annotated[list[str], typer.Argument(metavar="FLEET…", help="The fleets of the repository.")]
    threshold: Annotated[int, typer.Option(min=1, max=64, help="How many of the root's keys must sign.")] = 2
    root_keys: Annotated[int, typer.Option(min=1, max=64, help="How many keys the root has, unless they are given.")] = 3
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="ROLE=URI[,PUBLIC.pem]", help="A key instead of a new file; repeat it for more of a role."),
    ] = None
    dry_run: DryRun = False


def run(options: Options) -> None:
    """Makes a key ring, and with --store or --stack founds its repository. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.making import Root, make

    root = Root(options.threshold, options.root_keys)
    make(options, options.fleets, options.key or (), root, Console(), dry_run=options.dry_run)
