"""What a device says of one event to its group: its evidence, and of which view, by which file and of which event it is.

    version u8 | the first 8 bytes of the hash of the group's file u64 | the view's place in the file u8 | length of the event's name u8 |
    the name | evidence (see `evidence`) up to the end

Who says it stands in the topic, which a broker keeps true; no time is in it. By the hash those with another release's file are told apart,
which is not asked to withstand somebody who wants to be mistaken: whoever may write there may be a member that lies.
"""

import struct
from dataclasses import dataclass
from typing import Final

from isthmus_agent.formats import digests, numbers
from isthmus_agent.formats.evidence import most_bytes
from isthmus_agent.formats.fusion_group import MOST_MEMBERS
from isthmus_agent.formats.numbers import FormatError

SUBJECT: Final = "evidence"
"""That a device tells its group it under (`topics`)."""
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BQBB")
HEAD_BYTES: Final = _HEAD.size
_TAG_DIGITS: Final = 16


@dataclass(frozen=True)
class Said:
    """tag: of the group's file (`tag_of`). place: of the view among the file's members. event: what was seen. evidence: as it is sent."""

    tag: int
    place: int
    event: str
    evidence: bytes


def tag_of(digest: str) -> int:
    """The first 64 bits of a digest's hash."""
    return int(digests.digits_of(digest)[:_TAG_DIGITS], 16)


def event_name(value: object, where: str = "event") -> str:
    """What an event may be called: a name. Raises FormatError for all else."""
    return numbers.name(value, where)


def longest(classes: int) -> int:
    """The most bytes that such a message has."""
    return HEAD_BYTES + numbers.MOST_NAME_CHARACTERS + most_bytes(classes)


def encoded(said: Said) -> bytes:
    """The bytes of it."""
    name = said.event.encode("ascii")
    return _HEAD.pack(_VERSION, said.tag, said.place, len(name)) + name + said.evidence


def decoded(content: bytes) -> Said:
    """What these bytes say; of the evidence its length is not looked at. Raises FormatError for all that is none, and nothing else."""
    if len(content) < HEAD_BYTES:
        raise FormatError("", f"found {len(content)} bytes, expected {HEAD_BYTES} at least")
    version, tag, place, length = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise FormatError("", f"found version {version}, expected {_VERSION}")
    numbers.integer(place, "place", 0, MOST_MEMBERS - 1)
    name, evidence = content[HEAD_BYTES : HEAD_BYTES + length], content[HEAD_BYTES + length :]
    if len(name) < length or not evidence:
        raise FormatError("", "it ends early")
    return Said(tag, place, event_name(name.decode("ascii", "replace")), evidence)
