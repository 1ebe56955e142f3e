"""`isthmus keys rotate`, `revoke` and `resume`: other keys for roles of a repository that is there."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from isthmus.cli.commands.keys import steps
from isthmus.cli.commands.keys.giving import wanted_key, wanted_keys
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import founded, keyring_of, located_of
from isthmus.errors import InputError, Problem
from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import TOP_ROLES


def rotate(
    options: Repository, role: str, keys: Sequence[str], threshold: int, console: Console, *, dry_run: bool, is_later: bool = False
) -> None:
    """New keys for a role. Raises IsthmusError."""
    keyring = keyring_of(options)
    its = keyring.roles[steps.role_of(keyring, role)]
    wanted = wanted_keys(keys) or [ceremony.next_key(keyring, role, offset) for offset in range(len(its.keys))]
    threshold = threshold or its.threshold
    if threshold > len(wanted):
        what = f"{threshold} of {len(wanted)} keys would have to sign"
        raise InputError([Problem("--threshold", what, "no more than there are keys", "give more keys, or another --threshold")])
    found = located_of(options, keyring.fleets)
    console.print(steps.table({role: wanted}, {role: threshold}))
    steps.say(console, f"instead of {', '.join(key.uri for key in its.keys)}, in {found.where}")
    if is_later:
        _check_signed_by_root([role])
    if dry_run:
        return
    files = steps.new_files(options.keys, wanted)
    with steps.stepping(options, found.where):
        founded(found.place, keyring)
        if not is_later:
            steps.check_at_hand(keyring, [role])
        keyring = ceremony.rotate(found.place, keyring, role, wanted, threshold=threshold, is_later=is_later)
    steps.say_made(console, files)
    if is_later:
        _say_later(console)
    else:
        steps.say(console, f"{role} has new keys ({_ids(keyring, role)}); the old ones have no say any more")


def revoke(options: Repository, keyid: str, key: str, console: Console, *, dry_run: bool, is_later: bool = False) -> None:
    """Another key in place of one that nobody shall trust. Raises IsthmusError."""
    keyring = keyring_of(options)
    roles = steps.roles_of_key(keyring, keyid)
    if not roles:
        what = f"no key, or more than one, begins with {keyid!r}" if keyid else "no key is named"
        raise InputError([Problem("KEYID", what, "the beginning of one key's id", "see `isthmus keys status`")])
    found = located_of(options, keyring.fleets)
    wanted = {role: [wanted_key(key) if key else ceremony.next_key(keyring, role)] for role in roles}
    fleets = [role for role in roles if role in keyring.fleets]
    steps.say(console, f"key {keyid}… of {', '.join(roles)} is replaced, in {found.where}")
    console.print(steps.table(wanted, {role: keyring.roles[role].threshold for role in roles}))
    if fleets:
        steps.say(console, f"{', '.join(fleets)}: a new epoch begins, paused: what was told last may be anybody's")
    if is_later:
        _check_signed_by_root(roles)
    if dry_run:
        return
    files = steps.new_files(options.keys, [it for its in wanted.values() for it in its])
    with steps.stepping(options, found.where):
        founded(found.place, keyring)
        if not is_later:
            steps.check_at_hand(keyring, roles)
        keyring = ceremony.revoke(found.place, keyring, keyid, wanted_key(key) if key else None, is_later=is_later)
    steps.say_made(console, files)
    if is_later:
        _say_later(console)
        return
    steps.say(console, f"key {keyid}… has no say any more")
    for fleet in fleets:
        steps.say(console, f"{fleet} is in epoch {keyring.epochs[fleet]} and paused: publish a release, or `isthmus fleet resume {fleet}`")


def resume(options: Repository, root: Path | None, console: Console) -> None:
    """What a step left. root: a file that was signed in turns. Raises IsthmusError."""
    keyring = keyring_of(options)
    data = steps.read_file(root, "--root") if root else b""
    found = located_of(options, keyring.fleets)
    with steps.stepping(options, found.where):
        founded(found.place, keyring)
        ceremony.resume(found.place, keyring, root=data)
    steps.say(console, f"the repository {found.where} is in line with the key ring {options.keys.absolute()}")


def _check_signed_by_root(roles: Sequence[str]) -> None:
    if others := [role for role in roles if role not in TOP_ROLES]:
        what = f"the root does not sign for the keys of {', '.join(others)}"
        raise InputError([Problem("--later", what, f"one of {', '.join(TOP_ROLES)}", "leave it out")])


def _say_later(console: Console) -> None:
    steps.say(console, "the key ring has the change, the repository has not: devices go on as before. Next, the root is signed in turns:")
    steps.say(console, "  isthmus keys sign next-root.json           by each who has a key of the root, on a machine of their own")
    steps.say(console, "  isthmus keys resume --root next-root.json  here, with the key of timestamp")


def _ids(keyring: Keyring, role: str) -> str:
    return ", ".join(key.public.keyid[:12] for key in keyring.roles[role].keys)
