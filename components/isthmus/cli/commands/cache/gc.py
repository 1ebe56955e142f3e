"""`isthmus cache gc`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    max_size: Annotated[str, typer.Option(help="What the cache may hold, such as 5GB or 512MiB.")]
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False


def run(options: Options) -> None:
    """Makes room, and prints what went. Raises InputError."""
    from isthmus.cli.commands.cache.listing import make_room

    make_room(options.max_size, dry_run=options.dry_run)
