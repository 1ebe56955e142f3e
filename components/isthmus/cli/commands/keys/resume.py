"""`isthmus keys resume`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""


def run(options: Options) -> None:
    """Brings the repository in line with the key ring. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys.replacing import resume

    resume(options, Console())
