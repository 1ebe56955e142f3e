"""`isthmus keys sign`: a new root, signed in turns."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.keys import steps
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, keyring_of, with_keys
from isthmus.errors import InputError, Problem
from isthmus.repository import turns


def sign(options: Repository, file: Path, keys: Sequence[str], console: Console) -> None:
    """Begins or goes on with a new root. keys: URIs of keys that are somewhere else than the key ring says. Raises IsthmusError."""
    keyring = with_keys(keyring_of(options), keys)
    data = steps.read_file(file, "FILE") if file.exists() else None
    with explained(options.keys):
        turn = turns.sign(keyring, data, datetime.now(UTC))
    try:
        file.write_bytes(turn.data)
    except OSError as error:
        raise InputError([Problem("FILE", f"{file} cannot be written: {error.strerror}", "a file of yours")]) from error
    mine = ", ".join(it[:12] for it in turn.mine)
    steps.say(
        console, f"root {turn.version} in {file.absolute()}: " + (f"signed here by {mine}" if mine else "no key that is missing is here")
    )
    steps.say(console, f"signed so far by {', '.join(it[:12] for it in turn.signed) or 'nobody'}")
    if turn.is_complete:
        steps.say(console, f"it is complete: isthmus keys resume --root {file}")
    else:
        in_force, new = turn.missing
        steps.say(console, f"missing: {in_force} of the keys in force and {new} of the new ones; hand it on to who has them")
