"""`isthmus keys resume`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    root: Annotated[Path | None, typer.Option("--root", metavar="FILE", help="A new root that was signed in turns: keys sign.")] = None


def run(options: Options) -> None:
    """Brings the repository in line with the key ring. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.replacing import resume

    resume(options, options.root, Console())
