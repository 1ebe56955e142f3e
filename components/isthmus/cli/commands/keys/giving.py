"""Keys as they are given on a command line: `URI`, `URI,PUBLIC.pem`, and for a new key ring `ROLE=URI`."""

from collections.abc import Iterable
from pathlib import Path

from isthmus.errors import InputError, Problem
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keys import scheme_of

_EXPECTED = "URI, or URI,PUBLIC.pem, such as env:CI_KEY or awskms:KEY,public.pem"


def wanted_key(text: str) -> WantedKey:
    """One key. Raises InputError where its kind is unknown, or the public half cannot be read."""
    uri, _, file = text.partition(",")
    try:
        scheme_of(uri)
        return WantedKey(uri, Path(file).expanduser().read_text(encoding="ascii") if file else "")
    except InputError as error:
        raise InputError([Problem("--key", problem.what, _EXPECTED) for problem in error.problems]) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no PEM"
        raise InputError([Problem("--key", f"the public half {file!r} of {uri} cannot be read: {why}", "a public key in PEM")]) from error


def wanted_keys(texts: Iterable[str]) -> list[WantedKey]:
    return [wanted_key(text) for text in texts]


def by_role(texts: Iterable[str]) -> dict[str, list[WantedKey]]:
    """Keys of a new key ring."""
    found: dict[str, list[WantedKey]] = {}
    for text in texts:
        role, is_said, key = text.partition("=")
        if not is_said or ":" in role:
            raise InputError([Problem("--key", f"{text!r} does not say for which role", f"ROLE={_EXPECTED}")])
        found.setdefault(role, []).append(wanted_key(key))
    return found
