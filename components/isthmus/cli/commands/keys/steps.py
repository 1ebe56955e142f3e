"""The steps of a key ceremony as commands: what each would do is said first, what it did afterwards, and what is left if it cannot end."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keyring import FILE_NAME, Keyring
from isthmus.repository.keys import FILE, scheme_of
from isthmus.repository.objects import ROOT, ROSTER, SNAPSHOT, TARGETS, TIMESTAMP, TOP_ROLES

_BELONGS: Mapping[str, str] = {
    ROOT: "offline, each with another person",
    TARGETS: "offline",
    SNAPSHOT: "online: CI",
    TIMESTAMP: "online: CI",
    ROSTER: "with who enrols devices",
}
_GIT_IGNORED = "*.pem\n*.secret\n"


def belongs(role: str) -> str:
    """Where a role's private keys are to be."""
    return _BELONGS.get(role, "with who releases to this fleet")


def table(wanted: Mapping[str, Sequence[WantedKey]], thresholds: Mapping[str, int]) -> Table:
    """A row for each key."""
    found = Table("role", "must sign", "key", "belongs", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for role, keys in wanted.items():
        for index, key in enumerate(keys):
            first = (role, f"{thresholds[role]} of {len(keys)}", belongs(role)) if not index else ("", "", "")
            found.add_row(Text(first[0]), Text(first[1]), Text(key.uri, overflow="fold"), Text(first[2]))
    return found


def new_files(folder: Path, wanted: Iterable[WantedKey]) -> list[Path]:
    """The private keys that will be made, as files that are not there yet."""
    paths = [_path(folder, it) for it in wanted if scheme_of(it.uri) == FILE and not it.public_pem]
    return [path for path in dict.fromkeys(paths) if not path.exists()]


def say(console: Console, text: str) -> None:
    """One line as it is, however long."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def say_made(console: Console, files: Sequence[Path]) -> None:
    """Where private keys were put."""
    for path in files:
        say(console, f"made {path.absolute()} (mode 600)")


def keep_out_of_git(folder: Path) -> None:
    """Private keys are not committed with the rest of the folder."""
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text(_GIT_IGNORED, encoding="ascii")


def check_at_hand(keyring: Keyring, changed: Iterable[str]) -> None:
    """Before anything is changed: whether the keys are here that have to sign for new keys of these roles.

    Raises NotEnoughKeysError. The timestamp is signed anew in any case; what gets new keys is signed by those, but for the root.
    """
    roles = set(changed)
    needed = {TIMESTAMP}
    if roles & set(TOP_ROLES):
        needed.add(ROOT)
    if roles - set(TOP_ROLES):
        needed.add(TARGETS)
    if roles - {ROOT, TIMESTAMP}:
        needed.add(SNAPSHOT)
    for role in sorted((needed - roles) | (needed & {ROOT})):
        keyring.signers(role)


@contextmanager
def stepping(options: Repository, where: str) -> Iterator[None]:
    """Errors of a step. Where the key ring is ahead of the repository by then, that is said."""
    file = options.keys / FILE_NAME
    before = file.read_bytes()
    try:
        with explained(options.keys, where):
            yield
    except IsthmusError as error:
        if file.read_bytes() == before:
            raise
        left = "the key ring has the change already, the repository has not; devices go on as before. Fix: then `isthmus keys resume`"
        raise IsthmusError(f"{error}\n{left}") from error


def read_file(file: Path, option: str) -> bytes:
    """Raises InputError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError([Problem(option, f"{file} cannot be read: {error.strerror}", "a file")]) from error


def role_of(keyring: Keyring, role: str) -> str:
    """Raises InputError where the key ring has no such role."""
    if role not in keyring.roles:
        raise InputError([Problem("ROLE", f"the key ring has no role {role!r}", f"one of {', '.join(keyring.roles)}")])
    return role


def roles_of_key(keyring: Keyring, keyid: str) -> list[str]:
    """The roles of the one key whose id begins so; none where there is no such key, or more than one."""
    every = {key.public.keyid for keys in keyring.roles.values() for key in keys.keys if keyid and key.public.keyid.startswith(keyid)}
    if len(every) != 1:
        return []
    return [role for role, keys in keyring.roles.items() if any(key.public.keyid in every for key in keys.keys)]


def _path(folder: Path, key: WantedKey) -> Path:
    return folder / Path(key.uri.partition(":")[2]).expanduser()
