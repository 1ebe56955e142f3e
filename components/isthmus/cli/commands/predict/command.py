"""`isthmus predict`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Ca


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    stack_or_url: Annotated[str, typer.Argument(help="A stack of this project, or a URL such as http://127.0.0.1:8501/v1/models/digits.")]
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy, .json or an image.")]
    model: Annotated[str | None, typer.Option(help="The model's name, where there are several.")] = None
    track: Annotated[str, typer.Option(help="stable or canary; without it the gateway's split decides.")] = ""
    api_key: Annotated[
        str, typer.Option(envvar="ISTHMUS_API_KEY", help="A client's key; better in the environment, where no list of processes has it.")
    ] = ""
    ca: Ca = None


def run(options: Options) -> None:
    """Asks everybody, and shows who answered what. Raises IsthmusError, typer.Exit where somebody did not answer."""
    from rich.console import Console

    from isthmus.cli.commands.predict.asking import all_failed, ask, table, targets_of
    from isthmus.observing.reach import Client

    console = Console()
    targets = targets_of(options.stack_or_url, options.model, Client(options.api_key, options.track, options.ca))
    with console.status(f"asking {len(targets)} …"):
        answers = [ask(target, options.input) for target in targets]
    failed = all_failed(answers)
    if failed:
        raise failed
    console.print(table(answers))
    if any(answer.error for answer in answers):
        raise typer.Exit(1)
