"""`isthmus doctor`: it takes no options."""

from dataclasses import dataclass
from pathlib import Path

import typer


@dataclass(frozen=True)
class Options:
    """What a user gives: nothing."""


def run(_: Options) -> None:
    """Shows what was found. Raises typer.Exit, with 1 where something is missing."""
    from isthmus.cli.commands.doctor.findings import show

    raise typer.Exit(show(Path.cwd()))
