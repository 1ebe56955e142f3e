"""`isthmus fleet abort`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import Fleet, Repository, SignWith


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    fleet: Fleet = ""
    key: SignWith = None


def run(options: Options) -> None:
    """Brings devices back to the content before, and says what changed. Raises IsthmusError."""
    from isthmus.cli.commands.fleet.changing import after_abort, run_change
    from isthmus.repository.changes import aborted

    run_change(options, options.fleet, options.key or (), aborted, after_abort)
