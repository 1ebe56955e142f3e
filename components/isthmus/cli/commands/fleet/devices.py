"""`isthmus fleet devices`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Fleet, Json, Repository, SignWith


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    as_json: Json = False
    key: SignWith = None


def run(options: Options) -> None:
    """Shows the roster. Who has used a token is let in, where the keys for it are here. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.roll import show

    show(options, options.fleet, options.key or (), Console(), as_json=options.as_json)
