"""`isthmus group learn`."""

from isthmus.cli.commands.group.options import Options


def run(options: Options) -> None:
    """Learns a group, shows what it is worth, and writes its file. Raises IsthmusError."""
    from isthmus.cli.commands.group.learning import learn_and_show

    learn_and_show(options)
