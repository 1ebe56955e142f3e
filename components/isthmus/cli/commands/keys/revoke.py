"""`isthmus keys revoke`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import DryRun, Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    keyid: Annotated[str, typer.Argument(help="The key's id, or how it begins: see isthmus keys status.")]
    key: Annotated[str, typer.Option("--key", metavar="URI[,PUBLIC.pem]", help="What takes its place, instead of a new file.")] = ""
    later: Annotated[
        bool, typer.Option("--later", help="Change the key ring alone: the root is signed in turns (keys sign), then keys resume --root.")
    ] = False
    dry_run: DryRun = False


def run(options: Options) -> None:
    """Takes a key's say. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.replacing import revoke

    revoke(options, options.keyid, options.key, Console(), dry_run=options.dry_run, is_later=options.later)
