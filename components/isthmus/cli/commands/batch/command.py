"""`isthmus batch`."""

from isthmus.cli.commands.batch.options import Options


def run(options: Options) -> None:
    """Runs the job under bars. Raises IsthmusError."""
    from isthmus.cli.commands.batch.scoring import score

    score(options)
