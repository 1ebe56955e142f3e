"""`isthmus fleet resume`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Fleet, Repository, SignWith


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Has devices go on, and says what changed. Raises IsthmusError."""
    from isthmus.cli.commands.fleet.changing import after_resume, run_change
    from isthmus.repository.changes import resumed

    run_change(options, options.fleet, options.key or (), resumed, after_resume)
