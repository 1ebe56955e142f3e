"""The `isthmus` command."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from isthmus.cli import advise
from isthmus.errors import IsthmusError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="AI models in the cloud, on edge fleets, or both."
)
console = Console()
errors = Console(stderr=True)


@app.command()
def predict(
    stack_or_url: Annotated[str, typer.Argument(help="A stack of this project, or a URL such as http://127.0.0.1:8501/v1/models/digits.")],
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy, .json or an image.")],
    model: Annotated[str | None, typer.Option(help="The model's name, where there are several.")] = None,
) -> None:
    """Ask the cloud role and every device of a stack (or one URL) for a prediction."""
    from isthmus.cli import predicting

    targets = predicting.targets_of(stack_or_url, model)
    with console.status(f"asking {len(targets)} …"):
        answers = [predicting.ask(target, input) for target in targets]
    failed = predicting.all_failed(answers)
    if failed:
        raise failed
    console.print(predicting.table(answers))
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


@app.command()
def status(stack: Annotated[str, typer.Argument(help="A stack of this project.")] = "local") -> None:
    """Show what a stack runs: replicas, devices, releases, versions, health."""
    from isthmus.cli import status as parts
    from isthmus.cli.stack_state import read_stack

    with console.status("asking every part …"):
        found = parts.parts_of(read_stack(stack))
    console.print(parts.table(found))
    if not all(part.healthy for part in found):
        raise typer.Exit(1)


@app.command()
def logs(
    stack: Annotated[str, typer.Argument(help="A stack of this project.")] = "local",
    service: Annotated[str | None, typer.Option(help="Of one service or fleet.")] = None,
    tail: Annotated[int, typer.Option(help="So many of the last lines of each part.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
) -> None:
    """Show what the parts of a stack wrote: gateway, replicas, devices."""
    from isthmus.cli import logs as parts
    from isthmus.cli.stack_state import read_stack

    sources = parts.sources_of(read_stack(stack), service)
    with contextlib.suppress(KeyboardInterrupt):
        parts.show(sources, tail, follow, lambda name, line: console.print(f"[cyan]{escape(name)}[/cyan] {escape(line)}", highlight=False))


@app.command()
def doctor() -> None:
    """Show what Isthmus found on this machine, which version, from where, and what is missing."""
    from isthmus.cli import doctor as check

    raise typer.Exit(check.run(Path.cwd()))


app.command(name="advise")(advise.command())


def main() -> None:
    """Runs the command; a mistake of the user's is one message, never a traceback."""
    try:
        app()
    except IsthmusError as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)  # a message may hold [brackets] of its own
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
