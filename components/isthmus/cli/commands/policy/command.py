"""`isthmus policy`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Json


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    file: Annotated[Path, typer.Argument(metavar="FILE", help="The figures: YAML or JSON.", show_default=False)]
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Write a page to this file; it opens offline.")] = None
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write what devices read, a file a class; with --release.")
    ] = None
    release: Annotated[str, typer.Option("--release", metavar="DIGEST", help="The release that the files are for.")] = ""
    experience: Annotated[
        Path | None,
        typer.Option("--experience", metavar="FOLDER", help="What devices have counted: solve with it (isthmus fleet counts makes one)."),
    ] = None
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the simulated week.")] = 1
    as_json: Json = False


def run(options: Options) -> None:
    """Solves the policy of every class of devices, and shows what it does and what it gains.

    Raises IsthmusError.
    """
    from isthmus.cli.commands.policy.answer import show

    show(
        options.file,
        page=options.page,
        out=options.out,
        release=options.release,
        experience=options.experience,
        seed=options.seed,
        as_json=options.as_json,
    )
