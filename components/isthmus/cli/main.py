"""The `isthmus` command.

Every command pays for what is imported here. What only some of them need, they import when they run.
"""

import contextlib
import threading
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli import advise, cache
from isthmus.cli.batch import command as batch_command
from isthmus.cli.compile import command as compile_command
from isthmus.cli.plan import command as plan_command
from isthmus.errors import IsthmusError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="AI models in the cloud, on edge fleets, or both."
)
Stack = Annotated[str, typer.Argument(help="A stack of this project.")]


@app.command()
def predict(  # noqa: PLR0917  a command's options are keywords to its users
    stack_or_url: Annotated[str, typer.Argument(help="A stack of this project, or a URL such as http://127.0.0.1:8501/v1/models/digits.")],
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy, .json or an image.")],
    model: Annotated[str | None, typer.Option(help="The model's name, where there are several.")] = None,
    track: Annotated[str, typer.Option(help="stable or canary; without it the gateway's split decides.")] = "",
    api_key: Annotated[
        str, typer.Option(envvar="ISTHMUS_API_KEY", help="A client's key; better in the environment, where no list of processes has it.")
    ] = "",
    ca: Annotated[Path | None, typer.Option(help="Certificate (PEM) of the CA that has signed the gateway's.")] = None,
) -> None:
    """Ask the cloud role and every device of a stack (or one URL) for a prediction."""
    from rich.console import Console

    from isthmus.cli import predicting
    from isthmus.observing.reach import Client

    console = Console()
    targets = predicting.targets_of(stack_or_url, model, Client(api_key, track, ca))
    with console.status(f"asking {len(targets)} …"):
        answers = [predicting.ask(target, input) for target in targets]
    failed = predicting.all_failed(answers)
    if failed:
        raise failed
    console.print(predicting.table(answers))
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


@app.command()
def status(stack: Stack = "local") -> None:
    """Show what a stack runs: gateways, servers, devices, releases, versions, health."""
    from rich.console import Console

    from isthmus.cli import status as parts
    from isthmus.observing.stack_state import read_stack

    console = Console()
    with console.status("asking every part …"):
        found = parts.blocks_of(read_stack(stack))
    console.print(parts.rendered(found))
    if not all(block.healthy for block in found):
        raise typer.Exit(1)


@app.command()
def logs(
    stack: Stack = "local",
    service: Annotated[str | None, typer.Option(help="Of one service or fleet.")] = None,
    tail: Annotated[int, typer.Option(help="So many of the last lines of each part.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
) -> None:
    """Show what the parts of a stack wrote: gateways, servers, devices."""
    from rich.console import Console
    from rich.markup import escape

    from isthmus.cli import logs as parts
    from isthmus.observing.parts import Source
    from isthmus.observing.stack_state import read_stack

    console, state = Console(), read_stack(stack)

    def out(name: str, line: str) -> None:
        console.print(f"[cyan]{escape(name)}[/cyan] {escape(line)}", highlight=False, soft_wrap=True)

    def find() -> list[Source]:
        return parts.sources_of(state, service)

    if not follow:
        raise typer.Exit(0 if parts.show(find, tail, out) else 1)
    with contextlib.suppress(KeyboardInterrupt):
        parts.follow(find, tail, out, threading.Event())


@app.command()
def rollback(
    service: Annotated[str, typer.Argument(help="A service on Kubernetes.")],
    stack: Annotated[str, typer.Option(help="A stack of this project; without it the selected one.")] = "",
) -> None:
    """Send all traffic of a service to its stable release, at once."""
    from rich.console import Console
    from rich.markup import escape

    from isthmus.cli.rolling_back import roll_back
    from isthmus.observing.stack_state import read_stack

    console = Console()
    with console.status(f"rolling back {escape(service)} …") as shown:
        done = roll_back(read_stack(stack), service, lambda line: shown.update(escape(line)))
    console.print(done, markup=False, highlight=False, soft_wrap=True)


@app.command()
def doctor() -> None:
    """Show what Isthmus found on this machine, which version, from where, and what is missing."""
    from isthmus.cli import doctor as check

    raise typer.Exit(check.run(Path.cwd()))


app.command(name="advise")(advise.command())
app.add_typer(cache.app, name="cache")
app.command(name="batch")(batch_command)
app.command(name="compile")(compile_command)
app.command(name="plan")(plan_command)


def main() -> None:
    """Runs the command; a mistake of the user's is one message, never a traceback."""
    try:
        app()
    except IsthmusError as error:
        from rich.console import Console
        from rich.markup import escape

        errors = Console(stderr=True)
        errors.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)  # a message may hold [brackets] of its own
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
