"""What a content is called: `sha256:` and the 64 hexadecimal digits of its hash."""

import hashlib
import re
from typing import Final

PREFIX: Final = "sha256:"
EXPECTED: Final = "sha256: and 64 hexadecimal digits in lower case"
"""What a digest looks like, for messages."""
DIGITS: Final = re.compile(r"[0-9a-f]{64}")
PATTERN: Final = re.compile(PREFIX + DIGITS.pattern)
DIGITS_SHOWN: Final = 12
"""So many tell the releases of one project apart, and fit in a table."""


def named(digits: str) -> str:
    """The digest with these digits."""
    return PREFIX + digits


def of(content: bytes) -> str:
    """The digest of a content."""
    return named(hashlib.sha256(content).hexdigest())


def digits_of(digest: str) -> str:
    """The 64 digits: what folders and keys in a store are called by."""
    return digest.removeprefix(PREFIX)


def shown(text: str) -> str:
    """A digest's first digits, for people; of a text that is none (nothing is known, say) as much as there is."""
    return digits_of(text)[:DIGITS_SHOWN]
