"""`isthmus logs`: what may be asked."""

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.shared.options import Stack

if TYPE_CHECKING:
    from isthmus.observing.parts import Source


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    stack: Stack = ""
    service: Annotated[str | None, typer.Option(help="Of one service or fleet.")] = None
    tail: Annotated[int, typer.Option(help="So many of the last lines of each part.", min=0)] = 20
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False


def run(options: Options) -> None:
    """Prints the lines as they come. Raises IsthmusError, typer.Exit with 1 where a log could not be read."""
    from rich.console import Console
    from rich.markup import escape

    from isthmus.cli.commands.logs.printing import follow, show, sources_of
    from isthmus.observing.stack_state import read_stack

    console, state = Console(), read_stack(options.stack)

    def out(name: str, line: str) -> None:
        console.print(f"[cyan]{escape(name)}[/cyan] {escape(line)}", highlight=False, soft_wrap=True)

    def find() -> "list[Source]":
        return sources_of(state, options.service)

    if not options.follow:
        raise typer.Exit(0 if show(find, options.tail, out) else 1)
    with contextlib.suppress(KeyboardInterrupt):
        follow(find, options.tail, out, threading.Event())
