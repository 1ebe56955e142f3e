"""Bundles and deltas of a fleet that are sealed in the store, so that who can read the store alone does not read a model.

What is sealed is the file that would lie in the store otherwise: TUF's length and hash are those of the sealed object, and the digest that
a device is told stays that of the content. The assignment names the key of each object (`key_name`); where it names none, the object is
plain. Neither is ever taken for the other.

The key is one a fleet, derived from the secret from which its devices' report keys follow as well, and a device is given it when it joins.
"""

import io
from typing import BinaryIO, Final

from isthmus_agent.formats import sealing
from isthmus_agent.formats.contents import MOST_BUNDLE_BYTES
from isthmus_agent.formats.numbers import KEY_NAME_DIGITS, FormatError
from isthmus_agent.formats.sealing import Kind

KEY_BYTES: Final = 32
KIND: Final = Kind(
    magic=b"isthmus-content-1\n",
    salt=b"isthmus-content",
    most_bytes=MOST_BUNDLE_BYTES,
    refusal="it is not what was sealed with the fleet's content key: publish it again",
)


class ClosedError(Exception):
    """A content that cannot be opened here. It says nothing about the content itself."""


def content_key(secret: bytes, fleet: str) -> bytes:
    """The key of a fleet's contents. secret: the fleet's."""
    return sealing.derived(secret, b"isthmus-content-key", fleet.encode())


def key_name(key: bytes) -> str:
    """What a key is called where everybody may read it: it tells nothing of the key."""
    return KIND.derived(key, b"name").hex()[:KEY_NAME_DIGITS]


def sealed(key: bytes, file: bytes) -> bytes:
    """A bundle or delta as it lies in the store. The same file makes the same object."""
    content, into = io.BytesIO(file), io.BytesIO()
    sealing.seal(KIND, key, content, into, sealing.nonce_of(KIND, key, content))
    return into.getvalue()


def opened(stored: BinaryIO, name: str | None, key: bytes | None) -> BinaryIO:
    """A bundle or delta, to be read once from its beginning. name: of the key by which it is sealed, as that was signed; None: it is plain.

    key: the one that is here, if there is one. stored: stays open meanwhile. Raises ClosedError.
    """
    check_key(name, key)
    if name is not None and key is not None:
        try:
            return sealing.opened(KIND, key, stored)
        except FormatError as error:
            raise ClosedError(str(error)) from None
    stored.seek(0)
    if stored.read(len(KIND.magic)) == KIND.magic:
        raise ClosedError("it is sealed, and was signed as plain: publish it again")
    stored.seek(0)
    return stored


def opens(key: bytes | None, name: str | None) -> bool:
    """Whether the key that is here, if one is, opens what was signed with the key of that name; None: what is plain."""
    return name is None or (key is not None and key_name(key) == name)


def check_key(name: str | None, key: bytes | None) -> None:
    """Raises ClosedError where the key that is here is not the one of that name."""
    if not opens(key, name):
        found = "none" if key is None else key_name(key)
        raise ClosedError(f"it needs content key {name}, and here is {found}: enrol the device again")
