"""`isthmus compile`."""

from isthmus.cli.commands.compile.options import Options


def run(options: Options) -> None:
    """Compiles, and shows every variant. Raises IsthmusError."""
    from isthmus.cli.commands.compile.releases import compile_and_show

    compile_and_show(options)
