"""`isthmus cache`: what this machine keeps of compiled releases, and making room."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The compiled releases that this machine keeps.")


@app.command()
def ls() -> None:
    """Show every release in the cache, the one that was used last first."""
    from isthmus.cli import caching

    caching.show()


@app.command()
def gc(
    max_size: Annotated[str, typer.Option(help="What the cache may hold, such as 5GB or 512MiB.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
) -> None:
    """Remove releases, the longest unused first, until the cache is no larger than that. What a running process uses stays."""
    from isthmus.cli import caching

    caching.make_room(max_size, dry_run=dry_run)
