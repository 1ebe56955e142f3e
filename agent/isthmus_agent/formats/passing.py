"""What devices of a group pass each other: a request, and its answer. Numbers in big-endian order, then the payload up to the end.

    request   b"q" 1 | start u64 | id u64 | epoch u64 | attempt u32 | length of the stream's name u8 | the name | payload
    answer    b"a" 1 | start u64 | id u64 | epoch u64 | attempt u32 | outcome u8 | payload

A request is called by its asker, its asker's start and its id. The epoch is the fencing token of the stream's lease: it rises whenever
the stream gets another owner, and an answer under another epoch than the one that its request was last given out under is none
(M. Kleppmann, How to do distributed locking, 2016). The attempt tells a request that was asked again from one delivered twice.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError

MOST_PAYLOAD_BYTES: Final = 1 << 20
_VERSION: Final = 1
_MOST_ATTEMPT: Final = 2**32 - 1
_REQUEST: Final = struct.Struct(">cBQQQIB")
_ANSWER: Final = struct.Struct(">cBQQQIB")
HEAD_BYTES: Final = _REQUEST.size


class Outcome(IntEnum):
    """What became of a request at who was asked."""

    DONE = 0
    BUSY = 1
    """Its queue is full: nothing was done."""
    FAILED = 2
    """It was tried, and the payload says in UTF-8 why it could not be done: another owner would say the same."""


@dataclass(frozen=True)
class Tag:
    """By which an answer finds its request. start: of the asker, rising with each. epoch: of the stream's lease."""

    start: int
    id: int
    epoch: int
    attempt: int


@dataclass(frozen=True)
class Request:
    """stream: its name at the asker."""

    tag: Tag
    stream: str
    payload: bytes


@dataclass(frozen=True)
class Answer:
    """To the request with the tag."""

    tag: Tag
    outcome: Outcome
    payload: bytes = b""


def encoded(message: Request | Answer) -> bytes:
    """The bytes of it."""
    tag = message.tag
    if isinstance(message, Answer):
        return _ANSWER.pack(b"a", _VERSION, tag.start, tag.id, tag.epoch, tag.attempt, message.outcome) + message.payload
    name = message.stream.encode("ascii")
    return _REQUEST.pack(b"q", _VERSION, tag.start, tag.id, tag.epoch, tag.attempt, len(name)) + name + message.payload


def request(content: bytes) -> Request:
    """The request in these bytes. Raises FormatError for all that is none, and nothing else."""
    tag, length, rest = _opened(content, _REQUEST, b"q")
    if len(rest) < length:
        raise FormatError("", "it ends within the stream's name")
    name = numbers.name(rest[:length].decode("ascii", "replace"), "stream")
    return Request(tag, name, _payload(rest[length:]))


def answer(content: bytes) -> Answer:
    """The answer in these bytes. Raises FormatError for all that is none, and nothing else."""
    tag, outcome, rest = _opened(content, _ANSWER, b"a")
    return Answer(tag, Outcome(numbers.integer(outcome, "outcome", 0, len(Outcome) - 1)), _payload(rest))


def _opened(content: bytes, head: struct.Struct, letter: bytes) -> tuple[Tag, int, bytes]:
    if len(content) < head.size:
        raise FormatError("", f"found {len(content)} bytes, expected {head.size} at least")
    found, version, start, number, epoch, attempt, last = head.unpack_from(content)
    if (found, version) != (letter, _VERSION):
        raise FormatError("", "it does not begin as such a message does")
    for value, where in ((start, "start"), (number, "id"), (epoch, "epoch")):
        numbers.integer(value, where, 0, MOST_NUMBER)
    return Tag(start, number, epoch, numbers.integer(attempt, "attempt", 1, _MOST_ATTEMPT)), last, content[head.size :]


def _payload(found: bytes) -> bytes:
    if len(found) > MOST_PAYLOAD_BYTES:
        raise FormatError("", f"a payload of {len(found)} bytes, expected {MOST_PAYLOAD_BYTES} at most")
    return found
