"""`isthmus fleet remove`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import FleetOption, Repository, SignWith


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    device: Annotated[str, typer.Argument(help="The device's name.")]
    fleet: FleetOption = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Takes a device out, and says so. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.roll import remove

    remove(options, options.device, options.fleet, options.key or (), Console())
