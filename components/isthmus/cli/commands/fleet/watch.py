"""`isthmus fleet watch`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from isthmus.cli.shared.options import Fleet, Repository, SecretUri, SignWith

PAUSED_STATUS: Final = 3


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    once: Annotated[bool, typer.Option("--once", help="Do what the gates say now, and do not wait: for CI that comes again.")] = False
    secret: SecretUri = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Takes a rollout through its gates, and says how it goes. Raises IsthmusError, typer.Exit where it is paused."""
    from rich.console import Console

    from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of, with_keys
    from isthmus.repository.roster import fleet_secret, secret_uri
    from isthmus.rollouts.bringing import follow
    from isthmus.rollouts.intent import Fleet
    from isthmus.rollouts.stopping import RolloutPausedError

    keyring = with_keys(keyring_of(options), options.key or ())
    name = fleet_of(keyring, options.fleet)
    secret = fleet_secret(options.secret or secret_uri(name), keyring.folder)
    found = located_of(options, [name])
    console = Console()

    def show(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with explained(options.keys, found.where):
        founded(found.place, keyring)
        try:
            follow(Fleet(found.place, keyring, name, secret), wait=not options.once, progress=show)
        except RolloutPausedError as error:
            show(str(error))
            raise typer.Exit(PAUSED_STATUS) from None
