"""`isthmus keys rotate`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import DryRun, Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    role: Annotated[str, typer.Argument(help="root, targets, snapshot, timestamp, roster, or a fleet.")]
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="URI[,PUBLIC.pem]", help="A new key, instead of as many new files as it had keys; may be repeated."),
    ] = None
    threshold: Annotated[int, typer.Option(min=0, max=64, help="How many must sign; 0: as many as before.")] = 0
    later: Annotated[
        bool, typer.Option("--later", help="Change the key ring alone: the root is signed in turns (keys sign), then keys resume --root.")
    ] = False
    dry_run: DryRun = False


def run(options: Options) -> None:
    """Gives a role new keys. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.replacing import rotate

    rotate(options, options.role, options.key or (), options.threshold, Console(), dry_run=options.dry_run, is_later=options.later)
