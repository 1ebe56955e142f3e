"""`isthmus cache ls`: it takes no options."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What a user gives: nothing."""


def run(_: Options) -> None:
    """Prints the list."""
    from isthmus.cli.commands.cache.listing import show

    show()
