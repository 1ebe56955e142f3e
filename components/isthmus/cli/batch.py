"""`isthmus batch`: one scoring job, split over the servers of a service by formula 2."""

from pathlib import Path
from typing import Annotated

import typer


def command(  # noqa: PLR0917  a command's options are keywords to its users
    model: Annotated[str, typer.Argument(help="A service of the stack, or its model's name.")],
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy of shape (rows, …), or .npz with an array for each input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".npy; .npz where the model has several outputs.")],
    stack: Annotated[str, typer.Option(help="A stack of this project.")] = "local",
    servers: Annotated[
        list[str] | None,
        typer.Option(help="URL of a server, or URL=SPEED; repeat it. Instead of a stack's servers.", metavar="URL[=SPEED]"),
    ] = None,
    capacities: Annotated[
        str, typer.Option(help="measured: on the job's first rows; declared: the record's rate times the declared speed.")
    ] = "measured",
    measure_seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each server's rate is measured.")] = 2.0,
    chunk_rows: Annotated[int | None, typer.Option(min=1, help="The most rows in one request; without it about half a second's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what an earlier run of the same job left.")] = False,
    api_key: Annotated[str, typer.Option(envvar="ISTHMUS_API_KEY", help="A client's key, where the job goes through a gateway.")] = "",
    ca: Annotated[Path | None, typer.Option(help="Certificate (PEM) of the CA that has signed the gateway's.")] = None,
) -> None:
    """Score a file of examples with all servers of a service at once, each with its part by formula 2."""
    from isthmus.cli import batching

    batching.run(model, input, output, stack, servers, capacities, measure_seconds, chunk_rows, resume, api_key, ca)
