"""`isthmus keys sign`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new root; it is begun where it does not exist.")]
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="URI", help="A key of the root that is here: file:PATH or env:NAME; may be repeated."),
    ] = None


def run(options: Options) -> None:
    """Adds the signatures of the root's keys that are here to a new root. No store is asked. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.signing import sign

    sign(options, options.file, options.key or (), Console())
