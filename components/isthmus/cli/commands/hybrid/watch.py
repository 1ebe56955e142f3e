"""`isthmus hybrid watch`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import Json


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    stack: Annotated[
        str,
        typer.Argument(
            metavar="[STACK][/NAME]",
            help="A stack of this project (else the selected one), and which of its hybrids where it has several.",
            show_default=False,
        ),
    ] = ""
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False
    as_json: Json = False
    page: Annotated[bool, typer.Option("--page", help="Serve it as a page on this machine, kept up to date, until Ctrl-C.")] = False
    port: Annotated[int, typer.Option(min=0, max=65_535, help="For --page; 0 takes any that is free.")] = 0
    every: Annotated[float, typer.Option(min=0.5, metavar="SECONDS", help="Between two looks.")] = 2.0


def run(options: Options) -> None:
    """Shows where the requests of a hybrid's devices run, why, and where that is on the policy's map. Changes nothing.

    Raises IsthmusError.
    """
    from isthmus.cli.commands.hybrid.watching import show, watched

    show(watched(options.stack), once=options.once, as_json=options.as_json, page=options.page, port=options.port, every=options.every)
