"""Whose a thing is that others can reach, too. Each such thing carries the stack that made it, as organisation/project/stack.

Kubernetes objects have it as an annotation, and shortened as a label; prefixes of a bucket and folders have a file that says it.
What carries another owner, or none, is foreign: it is never changed and never removed.
"""

import hashlib
from typing import Final

from isthmus.errors import PlatformError
from isthmus.names import DOMAIN

OWNER_KEY: Final = f"{DOMAIN}/owner"
"""Of annotations (the whole owner) and labels (`mark`)."""
UNMARKED: Final = "unmarked"
"""How an argument names what carries no owner."""
_DEFAULT_ORGANISATION: Final = "organization"
_MARK_CHARACTERS: Final = 16


class ForeignOwnerError(PlatformError):
    """Something is there already, and is somebody else's."""


def owner_of(organisation: str, project: str, stack: str) -> str:
    """A stack as an owner. organisation: empty where the engine's state has none."""
    return f"{organisation or _DEFAULT_ORGANISATION}/{project}/{stack}"


def owner_of_urn(urn: str) -> str:
    """The owner of a resource whose program did not say it: URNs name stack and project, and no organisation."""
    parts = urn.split("::")
    stack = parts[0].rpartition(":")[2]
    return owner_of("", parts[1] if len(parts) > 1 else "", stack)


def mark(owner: str) -> str:
    """An owner as a label's value, which is short and has no slash."""
    return hashlib.sha256(owner.encode()).hexdigest()[:_MARK_CHARACTERS]


def shown(owner: str) -> str:
    """An owner in a message."""
    return owner or "not known: it carries none"
