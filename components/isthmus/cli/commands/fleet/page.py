"""`isthmus fleet page`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Fleet, Repository, SecretUri


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write the page to this file; it opens offline.")] = None
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on this machine, kept up to date, until Ctrl-C.")] = False
    port: Annotated[int, typer.Option(min=0, max=65_535, help="For --serve; 0 takes any that is free.")] = 0
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="For --serve: between two looks at what devices say.")] = 5.0
    secret: SecretUri = ""


def run(options: Options) -> None:
    """Shows where a rollout stands: in the terminal, as a page, or as one that is kept up to date. It changes nothing
    but the roster, where devices have joined and the keys for it are here.

    Raises IsthmusError.
    """
    from rich.console import Console

    from isthmus.cli.commands.fleet.standing_view import rendered
    from isthmus.cli.commands.fleet.watching import watched
    from isthmus.cli.shared.pages import check_page, write_page

    if options.to:
        check_page(options.to, "--to")
    console = Console()
    look = watched(options, options.fleet, options.secret)
    standing = look()
    if options.to:
        from isthmus.pages.fleet import html

        write_page(options.to, html(standing), "--to")
        console.print(f"page {options.to}", markup=False, highlight=False, soft_wrap=True)
    if options.serve:
        from isthmus.cli.shared.serving import serve
        from isthmus.pages.fleet import live_pages

        serve(look, standing, live_pages, console, port=options.port, every_seconds=options.every)
    elif not options.to:
        console.print(rendered(standing))
