"""`isthmus fleet enrol`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import FleetOption, Repository, SecretUri, SignWith


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    device: Annotated[str, typer.Argument(help="The device's name.", show_default=False)] = ""
    fleet: FleetOption = ""
    device_class: Annotated[str, typer.Option("--class", help="The class of its kind of device; `default` unless said.")] = ""
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label; may be repeated.")] = None
    hours: Annotated[
        int, typer.Option(min=1, max=168, help="For which the token is good: no store signs an address for more than 7 days.")
    ] = 24
    token_file: Annotated[Path | None, typer.Option(help="A new file for the token, for its owner alone, instead of printing it.")] = None
    token_folder: Annotated[
        Path | None,
        typer.Option(
            help="Instead of one device's: tokens for all devices of the roster, each in a file of the device's name. "
            "Those that have one there are passed over."
        ),
    ] = None
    identities: Annotated[
        Path | None, typer.Option(help="SeaweedFS's file of identities, in which the device gets credentials of its own.")
    ] = None
    access: Annotated[
        str,
        typer.Option(metavar="URI", help="Credentials made for the device (JSON), env:NAME or file:PATH; {device}: its name."),
    ] = ""
    device_store: Annotated[str, typer.Option(metavar="URL", help="The store as the device reaches it, if not by the same URL.")] = ""
    secret: SecretUri = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Makes a token, and prints it once; or those of all devices. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.tokens import Asked, enrol

    asked = Asked(
        device=options.device,
        fleet=options.fleet,
        device_class=options.device_class,
        labels=options.label or (),
        hours=options.hours,
        token_file=options.token_file,
        token_folder=options.token_folder,
        identities=options.identities,
        access=options.access,
        device_store=options.device_store,
        secret=options.secret,
    )
    enrol(options, asked, options.key or (), Console(stderr=True))
