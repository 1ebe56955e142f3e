"""Options that several commands have, spelled the same in each."""

from pathlib import Path
from typing import Annotated

import typer

ONE_STACK = "A stack of this project."
Stack = Annotated[str, typer.Argument(help=ONE_STACK)]
Ca = Annotated[Path | None, typer.Option(help="Certificate (PEM) of the CA that has signed the gateway's.")]
Page = Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
