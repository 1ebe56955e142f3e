"""How large a file of a repository's metadata may be."""

from typing import Final

from isthmus_agent.formats.assignment import MOST_DOCUMENT_BYTES

MOST_TARGETS_BYTES: Final = MOST_DOCUMENT_BYTES + (256 << 10)
_MOST_BYTES: Final = {"root": 128 << 10, "timestamp": 16 << 10, "snapshot": 128 << 10}


def most_bytes(role: str) -> int:
    """Of a role's metadata: a device reads no more, whatever length a signature says. All but three roles list target files."""
    return _MOST_BYTES.get(role, MOST_TARGETS_BYTES)
