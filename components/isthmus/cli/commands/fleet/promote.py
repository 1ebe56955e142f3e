"""`isthmus fleet promote`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Fleet, Repository, SignWith


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Opens the next wave, or ends the rollout, and says what changed. Raises IsthmusError."""
    from isthmus.cli.commands.fleet.changing import after_promote, run_change
    from isthmus.repository.changes import promoted

    run_change(options, options.fleet, options.key or (), promoted, after_promote)
