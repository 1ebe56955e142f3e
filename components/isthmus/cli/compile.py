"""`isthmus compile`: what a preview does, without Pulumi: compile, measure, and show every variant."""

from pathlib import Path
from typing import Annotated

import typer


def command(  # noqa: PLR0917  a command's options are keywords to its users
    model: Annotated[
        str, typer.Argument(help="A model folder, a .keras or .tflite file, a SavedModel, module:function, or a release's sha256:….")
    ],
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", "-r", help="Such as int8, prune:80%+int8 or auto (the default); may be repeated.")
    ] = None,
    min_accuracy: Annotated[float | None, typer.Option(min=0, max=1, help="What the chosen variant must keep, 0 to 1.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="An .npz of held-out examples, in place of the folder's own.")] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    name: Annotated[str, typer.Option(help="The model's name; else the folder's, file's or function's.")] = "",
    version: Annotated[int, typer.Option(min=1, help="The version that servers show.")] = 1,
    training_deadline_seconds: Annotated[int, typer.Option(min=1, help="The longest that one recipe may train.")] = 900,
    allow_unsafe: Annotated[bool, typer.Option("--allow-unsafe", help="Run Python code that a .keras file carries.")] = False,
    signature: Annotated[str | None, typer.Option(help="Of a source with several.")] = None,
    custom_objects: Annotated[str | None, typer.Option(help="A module that registers the classes a .keras file needs.")] = None,
) -> None:
    """Compile a model, run every variant on its evaluation data, and show which is best."""
    from isthmus.cli import compiling
    from isthmus.compile import CompileRequest
    from isthmus.compile.recipes import AUTO

    request = CompileRequest(
        model=name or compiling.name_of(model),
        source=model,
        recipe=AUTO,
        version=version,
        evaluation=evaluation,
        training_deadline_seconds=training_deadline_seconds,
        allow_unsafe=allow_unsafe,
        signature=signature,
        custom_objects=custom_objects,
    )
    compiling.run(request, recipe or [AUTO], min_accuracy, page, as_json=as_json)
