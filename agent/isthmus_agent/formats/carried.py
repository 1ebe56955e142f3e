"""What devices of a group carry for each other: a call on a model, and what came of it. They are payloads of `passing`.

call     length of the path u16 | path | body      in big-endian order; the path is the model API's own, of a prediction
result   status u16 | body
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from isthmus_agent.formats.numbers import FormatError, shown
from isthmus_agent.formats.passing import MOST_PAYLOAD_BYTES

_NUMBER: Final = struct.Struct(">H")
_PATH: Final = re.compile(r"/v1/models/[A-Za-z0-9._~%-]{1,192}(/versions/[0-9]{1,18})?:predict")
"""Of predictions alone: nothing else of a device is another one's business."""
_LEAST_STATUS, _MOST_STATUS = 100, 599
MOST_BODY_BYTES: Final = MOST_PAYLOAD_BYTES - (1 << 10)


@dataclass(frozen=True)
class Call:
    """path: of the model API. body: as that has it."""

    path: str
    body: bytes


@dataclass(frozen=True)
class Result:
    """An HTTP status, and the body under it."""

    status: int
    body: bytes


def is_call(path: str) -> bool:
    """Whether a path is one that may be carried."""
    return _PATH.fullmatch(path) is not None


def encoded_call(call: Call) -> bytes:
    """The bytes of it. Raises FormatError for a path or a body that is not carried."""
    if not is_call(call.path) or len(call.body) > MOST_BODY_BYTES:
        raise FormatError(
            "call", f"found {shown(call.path)} and {len(call.body)} bytes, expected a prediction of {MOST_BODY_BYTES} at most"
        )
    path = call.path.encode("ascii")
    return _NUMBER.pack(len(path)) + path + call.body


def call_in(content: bytes) -> Call:
    """The call in these bytes. Raises FormatError for all that is none, and nothing else."""
    length, rest = _opened(content)
    path = rest[:length].decode("ascii", "replace")
    if len(rest) < length or not is_call(path):
        raise FormatError("path", f"found {shown(path)}, expected that of a prediction")
    return Call(path, rest[length:])


def encoded_result(result: Result) -> bytes:
    """The bytes of it. Raises FormatError for a status that is none, or too large a body."""
    if not _LEAST_STATUS <= result.status <= _MOST_STATUS or len(result.body) > MOST_BODY_BYTES:
        raise FormatError("result", f"found status {result.status} and {len(result.body)} bytes, expected {MOST_BODY_BYTES} at most")
    return _NUMBER.pack(result.status) + result.body


def result_in(content: bytes) -> Result:
    """The result in these bytes. Raises FormatError for all that is none, and nothing else."""
    status, body = _opened(content)
    if not _LEAST_STATUS <= status <= _MOST_STATUS:
        raise FormatError("status", f"found {status}, expected {_LEAST_STATUS} to {_MOST_STATUS}")
    return Result(status, body)


def _opened(content: bytes) -> tuple[int, bytes]:
    if not _NUMBER.size <= len(content) <= MOST_PAYLOAD_BYTES:
        raise FormatError("", f"found {len(content)} bytes, expected {_NUMBER.size} to {MOST_PAYLOAD_BYTES}")
    return int(_NUMBER.unpack_from(content)[0]), content[_NUMBER.size :]
