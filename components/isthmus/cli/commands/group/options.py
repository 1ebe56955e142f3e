"""`isthmus group learn`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Json


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    model: Annotated[str, typer.Argument(help="A model as `isthmus compile` takes it, or a release's sha256:….")]
    views: Annotated[
        Path | None,
        typer.Option(help="An .npz of labelled examples: for each member what it sees of them, as the model takes it; and `labels`."),
    ] = None
    outputs: Annotated[
        Path | None, typer.Option(help="In its place: an .npz with what each member has answered, probabilities; and `labels`.")
    ] = None
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="By which the model is compiled.")] = "auto"
    clip_nats: Annotated[
        str | None, typer.Option("--clip-nats", metavar="N", help="What one member may say against a class at the most; else learned.")
    ] = None
    way: Annotated[
        str,
        typer.Option(metavar="WAY", help="log-odds: of what members say; features: a head on what they see; auto: the better."),
    ] = "log-odds"
    layer: Annotated[
        int | None, typer.Option(help="Whose numbers members send for a head, as `isthmus partition` counts; else the last hidden one.")
    ] = None
    head: Annotated[Path | None, typer.Option(help="Write the compiled head (.tflite) here.")] = None
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the group's file here.")] = None
    as_json: Json = False
