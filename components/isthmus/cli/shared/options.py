"""Options that several commands have, spelled the same in each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

FLEET_STORE_VARIABLE: Final = "ISTHMUS_FLEET_STORE"
"""The place of a fleet's repository; its credentials are in variables whose names begin so."""
ONE_STACK = "A stack of this project; without it the selected one."
DEFAULT_KEYS: Final = Path("keys")
Stack = Annotated[str, typer.Argument(help=ONE_STACK, show_default=False)]
StackOption = Annotated[str, typer.Option("--stack", help=ONE_STACK, show_default=False)]
Ca = Annotated[Path | None, typer.Option(help="Certificate (PEM) of the CA that has signed the gateway's.")]
Page = Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Repository:
    """A fleet's repository and its keys."""

    keys: Annotated[
        Path,
        typer.Option(
            "--keys",
            metavar="FOLDER",
            envvar="ISTHMUS_FLEET_KEYS",
            help="The key ring: its folder. Without it `keys`, else the stack's own.",
            show_envvar=False,
        ),
    ] = DEFAULT_KEYS
    store: Annotated[
        str,
        typer.Option(
            envvar=FLEET_STORE_VARIABLE,
            metavar="URL",
            show_envvar=False,
            help="The bucket with the prefix: https://ENDPOINT/BUCKET/PREFIX. Without it, the place is the stack's.",
        ),
    ] = ""
    stack: Annotated[str, typer.Option(help="A stack of this project that has the fleet; without it the selected one.")] = ""


Fleet = Annotated[str, typer.Argument(help="A fleet of the key ring; it need not be said where there is one only.", show_default=False)]
FleetOption = Annotated[str, typer.Option("--fleet", help="A fleet of the key ring; it need not be said where there is one only.")]
SAMPLES_KEY: Final = "file:samples.pem"
"""Where the key is that samples are encrypted to, unless it is said: beside the key ring."""
SecretUri = Annotated[
    str, typer.Option("--secret", metavar="URI", help="The fleet's secret, as env:NAME or file:PATH, if not in the key ring's folder.")
]
SignWith = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="URI",
        help="Where a key of the key ring is here, such as env:NAME or file:PATH; may be repeated. Which one it is, is seen by itself.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
