"""What all resources on a Docker host have in common; importing it costs nothing."""

import posixpath
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from isthmus.errors import Problem
from isthmus.plugin.claims import Claims
from isthmus.plugin.schema import Property
from isthmus.plugin.values import UNKNOWN, is_known

HOST: Final = Property(
    "object",
    "the Docker engine: name (for messages), address (unix://… or ssh://…), ssh_options",
    fields={
        "name": Property("string", "the host's name"),
        "address": Property("string", "the engine's address", replaces=True),
        "ssh_options": Property(
            "array", "options for ssh", required=False, default=[], compared=False, items=Property("string", "an option")
        ),
    },
)


def host_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with `host` as it is written."""
    address = inputs["host"].get("address") if isinstance(inputs["host"], dict) else None
    if not is_known([address]) or address is None or (address.startswith("unix:///") and len(address) > len("unix:///")):
        return []
    from isthmus.provider.docker.ssh import command

    try:
        command(address, ())
    except ValueError as error:
        # What stands before the @ may be a password.
        return [Problem("host.address", f"{address.rpartition('@')[2]!r} is {error}", "unix:///path/docker.sock or ssh://user@host")]
    return []


def port_problems(claims: Claims, urn: str, inputs: Mapping[str, Any], wanted: Mapping[Any, str]) -> list[Problem]:
    """Ports of the host that another resource of this update asks for. wanted: port → property path."""
    host = inputs["host"].get("address") if isinstance(inputs["host"], dict) else UNKNOWN
    if host is UNKNOWN:
        return []
    asked = {(host, port): path for port, path in wanted.items() if port is not UNKNOWN}
    taken = claims.taken(urn, asked)
    return [
        Problem(asked[thing], f"port {thing[1]} of that host is asked for by {other} as well", "its own port")
        for thing, other in taken.items()
    ]


ROOT: Final = Property("string", "the folder of the host (absolute) that everything of ours lies in", replaces=True)
FOLDER: Final = Property("string", "the folder below root", replaces=True)


def place_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with `root` and `folder`."""
    found = []
    root, folder = inputs["root"], inputs["folder"]
    # Docker takes a colon in a folder's name for the end of it.
    if root is not UNKNOWN and (not root.startswith("/") or posixpath.normpath(root) != root or root == "/" or ":" in root):
        found.append(Problem("root", f"is {root!r}", "an absolute path without . or .. or :"))
    if folder is not UNKNOWN and (posixpath.normpath(folder) != folder or folder.startswith(("/", ".")) or ":" in folder):
        found.append(Problem("folder", f"is {folder!r}", "a path below root, without . or .. or :"))
    return found


def directory_of(values: Mapping[str, Any]) -> str:
    return f"{values['root']}/{values['folder']}"


def removal_script(folder: str) -> str:
    """Removes a folder below the working directory, and the folders above it as far as nothing else is in them."""
    parts = folder.split("/")
    above = " ".join(shlex.quote("/".join(parts[:count])) for count in range(len(parts) - 1, 0, -1))
    return f"rm -rf {shlex.quote(folder)} || exit 1\n" + (f"rmdir {above} 2>/dev/null || :\n" if above else "")


STACK_FILE: Final = ".stack"
"""In each folder of ours: the stack that keeps it."""
_NEW_STACK_FILE: Final = f"{STACK_FILE}.new"


def claim_script(folder: str, owner: str, *, known: bool, former: Iterable[str] = ()) -> str:
    """Makes a folder the owner's, in a shell that ends on errors; it ends, and says why, where the folder is somebody else's.

    known: whether a state has the folder as the owner's: one of before there were owners is his then. former: what the owner was
    called before.
    """
    place, file, new = shlex.quote(folder), shlex.quote(f"{folder}/{STACK_FILE}"), shlex.quote(f"{folder}/{_NEW_STACK_FILE}")
    # What a claim leaves that is killed, or finds the disk full, is nobody's.
    nothing = f'$(ls -A {place} 2>/dev/null)" in ""|{STACK_FILE}|{_NEW_STACK_FILE}'
    lines = [
        f"stack=$(cat {file} 2>/dev/null) || stack=",
        _or_end(_is_one_of({owner, *former}), "the folder belongs to $stack"),
        *([] if known else [_or_end(f'[ -n "$stack" ] || case "{nothing}) ;; *) false;; esac', "the folder holds something else already")]),
        f"mkdir -p {place}",
        f"printf %s {shlex.quote(owner)} >{new}",
        f"mv {new} {file}",
    ]
    return "\n".join(lines) + "\n"


def _is_one_of(owners: Iterable[str]) -> str:
    """The condition that `$stack` is nobody, or one of these."""
    return " || ".join(['[ -z "$stack" ]', *(f'[ "$stack" = {shlex.quote(owner)} ]' for owner in sorted(owners))])


def own_script(folder: str, owners: Iterable[str]) -> str:
    """Ends the shell with an error where the folder belongs to none of the owners."""
    file = shlex.quote(f"{folder}/{STACK_FILE}")
    return f"stack=$(cat {file} 2>/dev/null) || stack=\n{_or_end(_is_one_of(owners), 'the folder belongs to $stack')}\n"


def _or_end(condition: str, why: str) -> str:
    return f'{condition} || {{ echo "{why}" >&2; exit 1; }}'
