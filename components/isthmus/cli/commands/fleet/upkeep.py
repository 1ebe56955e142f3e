"""Keeping a repository well: signing anew, and mending. Each gives what to print, and whether all is well now."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from isthmus.cli.shared.repositories import days_left, fleet_of, founded
from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.repository.enrolment import settle_if_possible
from isthmus.repository.keyring import Keyring
from isthmus.repository.lost_rosters import check_copy
from isthmus.repository.objects import ROSTER, Place
from isthmus.repository.reading import expiries, read
from isthmus.repository.recover import recover
from isthmus.repository.refresh import refresh
from isthmus.repository.sweeping import sweep, unnamed
from isthmus_agent.formats import roster as rosters
from isthmus_agent.formats.numbers import FormatError


def refreshed(place: Place, keyring: Keyring, now: datetime) -> tuple[str, bool]:
    """Not well: what needs keys that are not here has expired. Raises IsthmusError."""
    founded(place, keyring)
    done = refresh(place, keyring, now=now)
    joined = list(_joined(place, keyring, now))
    ends = expiries(read(place, keyring.anchor()))
    lines = [f"signed {', '.join(done.signed)}; the timestamp expires {days_left(ends['timestamp'], now)}"]
    for role, expires in sorted(done.waiting.items(), key=lambda it: it[1]):
        word = "expires " if expires > now else "has "
        lines.append(f"{role} {word}{days_left(expires, now)}, and its keys are not here: run this where they are")
    return "\n".join([*lines, *joined]), all(expires > now for expires in done.waiting.values())


def _joined(place: Place, keyring: Keyring, now: datetime) -> Iterator[str]:
    """Lets in who has used its token: a line for each fleet that has somebody new, or whose roster cannot be read."""
    for fleet in keyring.fleets:
        try:
            settled = settle_if_possible(place, keyring, fleet, now=now)
        except IntegrityError as error:
            yield f"{fleet}: nobody can join: {error}"
        else:
            if settled.joined:
                yield f"{fleet}: joined: {', '.join(settled.joined)}"


def recovered(place: Place, keyring: Keyring, rosters: Mapping[str, bytes]) -> tuple[str, bool]:
    """Not well: files of fleets are missing, which no signature can bring back. rosters: copies by fleet. Raises IsthmusError."""
    done = recover(place, keyring, rosters=rosters)
    lines = [*(f"- {line}" for line in done.done), *(f"missing: {path}: {_what_to_do(path)}" for path in done.missing)]
    return "\n".join([f"mended {len(done.done)}" if done.done else "nothing to mend", *lines]), not done.missing


def swept(place: Place, keyring: Keyring, *, dry_run: bool) -> Iterator[str]:
    """What nothing names any more, as it is removed, or would be. Raises IsthmusError."""
    current, count = founded(place, keyring), 0
    for key in unnamed(place, keyring, current) if dry_run else sweep(place, keyring):
        count += 1
        yield f"{key} {'would be' if dry_run else 'is'} removed"
    yield f"{count} files that nothing in force names{' would be' if dry_run else ' are'} removed" if count else "nothing to remove"


def copies_of(keyring: Keyring, files: Iterable[Path], empty: Iterable[str]) -> dict[str, bytes]:
    """Copies of rosters by fleet: of files, and empty ones for fleets of which there is none. Raises InputError."""
    found = {fleet: rosters.Roster(fleet).to_json() for fleet in (fleet_of(keyring, name) for name in empty)}
    for file in files:
        try:
            content = file.read_bytes()
            fleet = rosters.from_json(content).fleet
        except (OSError, FormatError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise InputError([Problem("--roster", f"{file} cannot be read: {why}", "a copy of a fleet's roster")]) from error
        check_copy(fleet_of(keyring, fleet), content)
        found[fleet] = content
    return found


def _what_to_do(path: str) -> str:
    role, _, name = path.partition("/")
    if role != ROSTER:
        return "publish its release again"
    fleet = name.removesuffix(".json")
    return (
        f"give a copy of it: --roster FILE. Devices go on as they are, and are believed no more until then; without any copy, take "
        f"{fleet}-devices.secret away and give --new-roster {fleet}: then each device has to be enrolled anew"
    )
