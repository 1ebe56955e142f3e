"""`isthmus fleet sweep`: what may be asked."""

from dataclasses import dataclass

from isthmus.cli.shared.options import DryRun, Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    dry_run: DryRun = False


def run(options: Options) -> None:
    """Removes what nothing names, and says what that was. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.fleet.upkeep import swept
    from isthmus.cli.shared.repositories import explained, keyring_of, located_of

    keyring = keyring_of(options)
    found = located_of(options, keyring.fleets)
    console = Console()
    with explained(options.keys, found.where):
        for line in swept(found.place, keyring, dry_run=options.dry_run):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
