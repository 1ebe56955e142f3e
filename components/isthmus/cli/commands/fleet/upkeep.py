"""Keeping a repository well: signing anew, and mending. Each gives what to print, and whether all is well now."""

from datetime import datetime

from isthmus.cli.shared.repositories import days_left, expiries, founded
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.reading import read
from isthmus.repository.recover import recover
from isthmus.repository.refresh import refresh


def refreshed(place: Place, keyring: Keyring, now: datetime) -> tuple[str, bool]:
    """Not well: what needs keys that are not here has expired. Raises IsthmusError."""
    founded(place, keyring)
    done = refresh(place, keyring, now=now)
    ends = expiries(read(place, keyring.anchor()))
    lines = [f"signed {', '.join(done.signed)}; the timestamp expires {days_left(ends['timestamp'], now)}"]
    for role, expires in sorted(done.waiting.items(), key=lambda it: it[1]):
        word = "expires " if expires > now else "has "
        lines.append(f"{role} {word}{days_left(expires, now)}, and its keys are not here: run this where they are")
    return "\n".join(lines), all(expires > now for expires in done.waiting.values())


def recovered(place: Place, keyring: Keyring) -> tuple[str, bool]:
    """Not well: files of fleets are missing, which no signature can bring back. Raises IsthmusError."""
    done = recover(place, keyring)
    lines = [*(f"- {line}" for line in done.done), *(f"missing: {path}: publish its release again" for path in done.missing)]
    return "\n".join([f"mended {len(done.done)}" if done.done else "nothing to mend", *lines]), not done.missing
