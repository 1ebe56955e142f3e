"""`isthmus fleet move`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Fleet, Repository, SecretUri, SignWith


@dataclass(frozen=True, kw_only=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    former_key: Annotated[
        str,
        typer.Option(metavar="URI", help="The former signing key (PEM), as env:NAME or file:PATH: `private_key` of the SigningKey."),
    ]
    device: Annotated[list[str] | None, typer.Option(help="A device; may be repeated. Without it all that have reported.")] = None
    device_class: Annotated[str, typer.Option("--class", help="The class of these devices.")] = "*"
    hours: Annotated[int, typer.Option(min=1, max=168, help="For which the tokens are good.")] = 168
    identities: Annotated[Path | None, typer.Option(help="SeaweedFS's file of identities, in which the devices get credentials.")] = None
    access: Annotated[str, typer.Option(metavar="URI", help="Credentials that were made for them (JSON), as env:NAME or file:PATH.")] = ""
    secret: SecretUri = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Makes the tokens, and puts the last document where former devices look for it. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.moving import Asked, move

    asked = Asked(
        fleet=options.fleet,
        former_key=options.former_key,
        devices=options.device or (),
        device_class=options.device_class,
        hours=options.hours,
        identities=options.identities,
        access=options.access,
        secret=options.secret,
    )
    move(options, asked, options.key or (), Console())
