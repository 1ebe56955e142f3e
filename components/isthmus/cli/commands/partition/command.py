"""`isthmus partition`."""

from isthmus.cli.commands.partition.options import Options


def run(options: Options) -> None:
    """Measures every cut, and shows which is fastest when. Raises IsthmusError."""
    from isthmus.cli.commands.partition.splitting import split_and_show

    split_and_show(options)
