"""`isthmus keys sampling`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import SAMPLES_KEY, Repository


@dataclass(frozen=True)
class Options(Repository):
    """What a user gives."""

    key: Annotated[
        str, typer.Option("--key", metavar="URI", help="Where the private half is, or is put if it is a file: that is not there yet.")
    ] = SAMPLES_KEY


def run(options: Options) -> None:
    """Makes the key pair that samples of inputs are encrypted to, where there is none, and shows its public half. Raises IsthmusError."""
    from rich.console import Console

    from isthmus.cli.commands.keys import steps
    from isthmus.repository.keys import FILE, KeyNotAtHandError, scheme_of
    from isthmus.repository.sampling import make_key, owner_key

    console = Console(stderr=True)
    try:
        found = owner_key(options.key, options.keys)
    except KeyNotAtHandError:
        if scheme_of(options.key) != FILE:
            raise
        found = make_key(options.key, options.keys)
        steps.keep_out_of_git(options.keys)
        steps.say(console, f"made {options.key} in {options.keys.absolute()}: whoever has it reads samples; take it where nobody else does")
    steps.say(console, "for the stack: `samples: {owner_key: …, share_percent: …}`; to open samples: isthmus fleet samples")
    Console().print(found.text, markup=False, highlight=False, soft_wrap=True)
