"""`isthmus batch`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Ca, StackOption


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    model: Annotated[str, typer.Argument(help="A service of the stack, or its model's name.")]
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy of shape (rows, …), or .npz with an array for each input.")]
    output: Annotated[Path, typer.Option("--output", "-o", help=".npy; .npz where the model has several outputs.")]
    stack: StackOption = ""
    servers: Annotated[
        list[str] | None,
        typer.Option(help="URL of a server, or URL=SPEED; repeat it. Instead of a stack's servers.", metavar="URL[=SPEED]"),
    ] = None
    capacities: Annotated[
        str, typer.Option(help="measured: on the job's first rows; declared: the record's rate times the declared speed.")
    ] = "measured"
    measure_seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each server's rate is measured.")] = 2.0
    chunk_rows: Annotated[int | None, typer.Option(min=1, help="The most rows in one request; without it about half a second's.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what an earlier run of the same job left.")] = False
    api_key: Annotated[str, typer.Option(envvar="ISTHMUS_API_KEY", help="A client's key, where the job goes through a gateway.")] = ""
    ca: Ca = None
