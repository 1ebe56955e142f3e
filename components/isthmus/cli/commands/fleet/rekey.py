"""`isthmus fleet rekey`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Fleet, Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""


def run(options: Options) -> None:
    """Makes the secret, and says what follows. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.enrolling import rekey

    rekey(options, options.fleet, Console())
