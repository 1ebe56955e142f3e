"""`isthmus rollback`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    service: Annotated[str, typer.Argument(help="A service on Kubernetes.")]
    stack: Annotated[str, typer.Option(help="A stack of this project; without it the selected one.")] = ""


def run(options: Options) -> None:
    """Rolls back, and says what was done. Raises IsthmusError."""
    from rich.console import Console
    from rich.markup import escape

    from isthmus.cli.commands.rollback.splitting import roll_back
    from isthmus.observing.stack_state import read_stack

    console = Console()
    with console.status(f"rolling back {escape(options.service)} …") as shown:
        done = roll_back(read_stack(options.stack), options.service, lambda line: shown.update(escape(line)))
    console.print(done, markup=False, highlight=False, soft_wrap=True)
