"""`isthmus status`: what may be asked."""

from dataclasses import dataclass

import typer

from isthmus.cli.shared.options import Stack


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    stack: Stack = ""


def run(options: Options) -> None:
    """Shows every service and fleet of a stack. Raises IsthmusError, typer.Exit where one is not healthy."""
    from rich.console import Console

    from isthmus.cli.commands.status.asking import blocks_of, rendered
    from isthmus.observing.stack_state import read_stack

    console = Console()
    with console.status("asking every part …"):
        found = blocks_of(read_stack(options.stack))
    console.print(rendered(found))
    if not all(block.healthy for block in found):
        raise typer.Exit(1)
