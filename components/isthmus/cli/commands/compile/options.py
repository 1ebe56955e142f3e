"""`isthmus compile`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Json, Page
from isthmus.limits import TRAINING_DEADLINE_SECONDS


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    model: Annotated[
        str, typer.Argument(help="A model folder, a .keras or .tflite file, a SavedModel, module:function, or a release's sha256:….")
    ]
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", "-r", help="Such as int8, prune:80%+int8 or auto (the default); may be repeated.")
    ] = None
    min_accuracy: Annotated[float | None, typer.Option(min=0, max=1, help="What the chosen variant must keep, 0 to 1.")] = None
    evaluation: Annotated[Path | None, typer.Option(help="An .npz of held-out examples, in place of the folder's own.")] = None
    page: Page = None
    as_json: Json = False
    name: Annotated[str, typer.Option(help="The model's name; else the folder's, file's or function's.")] = ""
    version: Annotated[int, typer.Option(min=1, help="The version that servers show.")] = 1
    training_deadline_seconds: Annotated[
        int, typer.Option(min=int(TRAINING_DEADLINE_SECONDS.least), help="The longest that one recipe may train.")
    ] = TRAINING_DEADLINE_SECONDS.default
    allow_unsafe: Annotated[bool, typer.Option("--allow-unsafe", help="Run Python code that a .keras file carries.")] = False
    signature: Annotated[str | None, typer.Option(help="Of a source with several.")] = None
    custom_objects: Annotated[str | None, typer.Option(help="A module that registers the classes a .keras file needs.")] = None
