"""What a device has counted (`formats.experience`), as it lies in the store: one object a device, written over at each time.

    {prefix}health/counts/DEVICE~FLEET          isthmus-counts-1\\n  ‖  the document  ‖  MAC (32)

It lies among what a device may write anyway (`formats.report`): its own credentials let it write `{prefix}health/*/DEVICE~*`, and no other
device's. The MAC is by the device's report key, over the fleet, the device and the document, so that whoever can write to the store cannot
make up what was counted, nor tell one device's counts as another's. Reports are about a number, and this is none.
"""

import hmac
from typing import Final

from isthmus_agent.formats import experience, numbers
from isthmus_agent.formats.experience import Experience
from isthmus_agent.formats.numbers import FormatError

_FOLDER: Final = "health/counts/"
_MAGIC: Final = b"isthmus-counts-1\n"
_MAC_BYTES: Final = 32
MOST_OBJECT_BYTES: Final = len(_MAGIC) + experience.MOST_BYTES + _MAC_BYTES


def folder(prefix: str) -> str:
    """What the keys of all of these begin with."""
    return f"{prefix}{_FOLDER}"


def object_key(prefix: str, fleet: str, device: str) -> str:
    """Of a device's counts."""
    return f"{folder(prefix)}{numbers.device_name(device, 'device')}~{numbers.name(fleet, 'fleet')}"


def device_of(key: str, prefix: str, fleet: str) -> str:
    """Whose counts would lie under a key. Raises FormatError for every text that is no such key."""
    device = key.removeprefix(folder(prefix)).partition("~")[0]
    if key != object_key(prefix, fleet, device):
        raise FormatError("", "not the key of a device's counts")
    return device


def written(found: Experience, fleet: str, device: str, report_key: bytes) -> bytes:
    """An object's content."""
    document = found.written()
    return _MAGIC + document + _mac(report_key, fleet, device, document)


def document_in(content: bytes) -> bytes:
    """The document in an object's content, whoever has written it; of a file that holds the document alone, that. Never raises."""
    is_object = content.startswith(_MAGIC) and len(content) >= len(_MAGIC) + _MAC_BYTES
    return content[len(_MAGIC) : -_MAC_BYTES] if is_object else content


def read(content: bytes, fleet: str, device: str, report_key: bytes) -> bytes:
    """The document in an object's content, where this device has written it. Raises FormatError for everything else, and nothing else."""
    document = document_in(content)
    if document is content or not hmac.compare_digest(content[-_MAC_BYTES:], _mac(report_key, fleet, device, document)):
        raise FormatError("", "this device has not written it, or with keys that it had before")
    return document


def _mac(report_key: bytes, fleet: str, device: str, document: bytes) -> bytes:
    return hmac.digest(report_key, _MAGIC + f"{fleet}\0{device}\0".encode() + document, "sha256")
