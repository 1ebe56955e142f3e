"""`isthmus fleet counts`: what devices have told, in a table, and written out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.counts import counted
from isthmus_agent.formats import digests, experience

MOST_ROWS: Final = 100
_ENDING: Final = ".json"


def shown(options: Repository, fleet: str, out: Path | None, secret_uri: str, console: Console) -> bool:
    """Whether all could be read. out: None: nothing is written. Raises IsthmusError."""
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, fleet)
    secret = roster.fleet_secret(secret_uri or roster.secret_uri(fleet), keyring.folder)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        founded(found.place, keyring)
        told = counted(found.place, roster.read(found.place, keyring, fleet), secret)
    table = Table("device", "class", "cells", "rows", "looks", box=None, header_style="dim")
    looks = 0
    for index, (device, content) in enumerate(told.contents.items()):
        its = experience.read(content)
        total = sum(row.total for row in its.rows.values())
        looks += total
        if index < MOST_ROWS:
            table.add_row(*map(Text, (device, its.device_class, digests.shown(its.meaning), f"{len(its.rows):,}", f"{total:,}")))
    if told.contents:
        console.print(table)
    for device, why in told.broken.items():
        console.print(f"not read: {device}: {why}", markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        _write(out, told.contents)
    more = f", of which the first {MOST_ROWS} are shown" if len(told.contents) > MOST_ROWS else ""
    left = f"; {told.left_out:,} devices were not asked" if told.left_out else ""
    where = f"; {out} has them" if out is not None else ""
    text = f"{fleet}: {looks:,} looks of {len(told.contents):,} devices{more}{where}; {len(told.broken)} could not be read{left}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return not told.broken


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """A file a device; of devices that were there before, what they have told now. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for device, content in contents.items():
            (folder / f"{device}{_ENDING}").write_bytes(content)
    except OSError as error:
        raise InputError([Problem("--out", f"{folder}: {error.strerror or error}", "a folder that may be written")]) from error
