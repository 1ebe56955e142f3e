"""`isthmus rollback`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import StackOption


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    service: Annotated[str, typer.Argument(help="A service on Kubernetes.")]
    stack: StackOption = ""
    at_once: Annotated[bool, typer.Option(help="Do not wait until the stable release has the servers that all requests need.")] = False


def run(options: Options) -> None:
    """Rolls back, and says what was done. Raises IsthmusError."""
    from rich.console import Console
    from rich.markup import escape

    from isthmus.cli.commands.rollback.splitting import roll_back
    from isthmus.observing.stack_state import read_stack

    console = Console()
    with console.status(f"rolling back {escape(options.service)} …") as shown:
        done = roll_back(read_stack(options.stack), options.service, lambda line: shown.update(escape(line)), at_once=options.at_once)
    console.print(done, markup=False, highlight=False, soft_wrap=True)
