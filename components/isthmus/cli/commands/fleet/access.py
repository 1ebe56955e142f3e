"""`isthmus fleet access`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Fleet, Repository, SecretUri


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    identities: Annotated[
        Path | None,
        typer.Option(help="SeaweedFS's file of identities, to be brought in line with the roster; else a policy of AWS is printed."),
    ] = None
    device: Annotated[str, typer.Option(help="The policy of this device alone, instead of one for all that are tagged.")] = ""
    samples: Annotated[
        bool, typer.Option("--samples", help="The policy also lets devices write samples; the file of identities follows what is signed.")
    ] = False
    secret: SecretUri = ""


def run(options: Options) -> None:
    """Says to a store what each device may do. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.roll import grant

    grant(
        options,
        options.fleet,
        Console(),
        identities=options.identities,
        device=options.device,
        secret_uri=options.secret,
        may_sample=options.samples,
    )
