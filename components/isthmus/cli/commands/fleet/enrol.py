"""`isthmus fleet enrol`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import FleetOption, Repository, SecretUri, SignWith


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    device: Annotated[str, typer.Argument(help="The device's name.")]
    fleet: FleetOption = ""
    device_class: Annotated[str, typer.Option("--class", help="The class of its kind of device.")] = "default"
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label; may be repeated.")] = None
    hours: Annotated[
        int, typer.Option(min=1, max=168, help="For which the token is good: no store signs an address for more than 7 days.")
    ] = 24
    token_file: Annotated[Path | None, typer.Option(help="A new file for the token, for its owner alone, instead of printing it.")] = None
    identities: Annotated[
        Path | None, typer.Option(help="SeaweedFS's file of identities, in which the device gets credentials of its own.")
    ] = None
    access: Annotated[
        str, typer.Option(metavar="URI", help="Credentials that were made for the device (JSON), as env:NAME or file:PATH.")
    ] = ""
    device_store: Annotated[str, typer.Option(metavar="URL", help="The store as the device reaches it, if not by the same URL.")] = ""
    secret: SecretUri = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Makes a token, and prints it once. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.tokens import Asked, enrol

    asked = Asked(
        device=options.device,
        fleet=options.fleet,
        device_class=options.device_class,
        labels=options.label or (),
        hours=options.hours,
        token_file=options.token_file,
        identities=options.identities,
        access=options.access,
        device_store=options.device_store,
        secret=options.secret,
    )
    enrol(options, asked, options.key or (), Console(stderr=True))
