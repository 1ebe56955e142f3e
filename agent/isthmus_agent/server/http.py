"""HTTP/1.1 as a server reads and writes it: bytes in, requests out; every size is bounded."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from isthmus_agent.formats.answers import ANSWER_BY, DEADLINE_MS, DEVICE, EVENT, SAMPLE

MOST_HEAD_BYTES: Final = 16 << 10
MOST_HEADERS: Final = 64
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,8192}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_MOST_CHUNK_LINE_BYTES = 1024
_LAST = -1
_ANSWER_BY, _SAMPLE, _DEADLINE, _EVENT = (it.lower().encode() for it in (ANSWER_BY, SAMPLE, DEADLINE_MS, EVENT))
_ONCE = (b"content-length", b"transfer-encoding", _DEADLINE, _EVENT)
"""Headers of which two would say two things."""
_GZIP = ("gzip", "x-gzip", "deflate")


class HttpError(Exception):
    """A request that cannot be read. The connection ends with the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request, whole. body: decompressed. stays: whether the client wants to go on with the connection. is_for_here: whether nobody
    else may be asked (`X-Isthmus-Answer-By: device`). may_be_sampled: whether the client said nothing of samples (whatever
    `X-Isthmus-Sample` says is taken for `never`). deadline, event: what `X-Isthmus-Deadline-Ms` and `X-Isthmus-Event` say, unread; None:
    nothing."""

    method: str
    target: str
    body: bytes
    stays: bool
    is_for_here: bool = False
    may_be_sampled: bool = True
    deadline: str | None = None
    event: str | None = None


@dataclass(frozen=True)
class _Head:
    method: str
    target: str
    headers: Mapping[bytes, bytes]
    stays: bool
    length: int | None  # None: in chunks


class Reader:
    """Requests out of one connection's bytes. most_body_bytes: as sent, and decompressed."""

    def __init__(self, most_body_bytes: int) -> None:
        self._most = most_body_bytes
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()  # of chunks, so far
        self._left: int | None = None  # of the chunk; 0: its end of line is missing; None: its size is missing; _LAST: it was the last
        self.expects_continue = False

    @property
    def held_bytes(self) -> int:
        """What is in memory of a request that is not whole."""
        return len(self._buffer) + len(self._body)

    @property
    def is_between(self) -> bool:
        """Whether nothing of a next request is here."""
        return self._head is None and not self._buffer

    def feed(self, data: bytes) -> None:
        """Takes what was received."""
        self._buffer += data

    def take(self) -> Request | None:
        """The next request, if it is whole. Raises HttpError."""
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None:
            return None
        body = self._read_chunks() if head.length is None else self._cut(head.length)
        if body is None:
            return None
        self._head, self._body, self._left, self.expects_continue = None, bytearray(), None, False
        is_for_here = head.headers.get(_ANSWER_BY, b"").lower() == DEVICE.encode()
        content = self._decompressed(head, body)
        deadline, event = (None if it is None else it.decode("latin-1") for it in map(head.headers.get, (_DEADLINE, _EVENT)))
        return Request(head.method, head.target, content, head.stays, is_for_here, _SAMPLE not in head.headers, deadline, event)

    def _cut(self, size: int) -> bytes | None:
        if len(self._buffer) < size:
            return None
        with memoryview(self._buffer) as view:
            found = bytes(view[:size])
        del self._buffer[:size]
        return found

    def _cut_line(self, most: int, status: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, most + 2)
        if end < 0:
            if len(self._buffer) > most:
                raise HttpError(status, f"a line of the request is longer than {most} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_head(self) -> _Head | None:
        while self._buffer[:2] == b"\r\n":  # some clients end a body so
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MOST_HEAD_BYTES:
                raise HttpError(431, f"the request's head is larger than {MOST_HEAD_BYTES} bytes")
            first = self._buffer.find(b"\r\n", 0, MOST_HEAD_BYTES)
            if (first >= 0 and not _REQUEST_LINE.fullmatch(self._buffer[:first])) or b"\n" in self._buffer[: max(0, first)]:
                raise HttpError(400, "no HTTP request")
            return None
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        return self._parsed(lines)

    def _parsed(self, lines: list[bytes]) -> _Head:
        line = _REQUEST_LINE.fullmatch(lines[0])
        if line is None:
            raise HttpError(400, "no HTTP request")
        if len(lines) > MOST_HEADERS + 1:
            raise HttpError(431, f"the request has more than {MOST_HEADERS} headers")
        headers: dict[bytes, bytes] = {}
        for text in lines[1:]:
            header = _HEADER.fullmatch(text)
            if header is None:
                raise HttpError(400, "a header cannot be read")
            name = header[1].lower()
            if name in headers and name in _ONCE:
                raise HttpError(400, f"two headers {name.decode()}")
            headers[name] = header[2].strip(b" \t")
        is_new = line[3] == b"1"
        wishes = headers.get(b"connection", b"").lower()
        stays = b"close" not in wishes if is_new else b"keep-alive" in wishes
        self.expects_continue = is_new and headers.get(b"expect", b"").lower() == b"100-continue"
        return _Head(line[1].decode(), line[2].decode(), headers, stays, self._length(headers))

    def _length(self, headers: Mapping[bytes, bytes]) -> int | None:
        coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
        if coding is not None:
            if length is not None or coding.lower() != b"chunked":
                raise HttpError(400, "the length of the request's body is not clear")
            return None
        if length is None:
            return 0
        if not _LENGTH.fullmatch(length):
            raise HttpError(400, "the Content-Length is no number")
        if int(length) > self._most:
            raise self._too_large()
        return int(length)

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the request is larger than {self._most} bytes")

    def _read_chunks(self) -> bytes | None:
        """The body, when its last chunk is here. Each turn takes a chunk's size, what is here of it, its end, or a line behind the last."""
        while True:
            if self._left is None:
                is_on = self._begin_chunk()
            elif self._left == _LAST:
                line = self._cut_line(MOST_HEAD_BYTES, 431)
                if line == b"":
                    return bytes(self._body)
                is_on = line is not None
            elif self._left > 0:
                is_on = self._go_on_with_chunk(self._left)
            else:
                is_on = self._end_chunk()
            if not is_on:
                return None

    def _begin_chunk(self) -> bool:
        line = self._cut_line(_MOST_CHUNK_LINE_BYTES, 400)
        if line is None:
            return False
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise HttpError(400, "a chunk without a size")
        self._left = int(size[1], 16) or _LAST
        if len(self._body) + self._left > self._most:
            raise self._too_large()
        return True

    def _go_on_with_chunk(self, left: int) -> bool:
        data = self._buffer[:left]
        self._body += data
        self._left = left - len(data)
        del self._buffer[: len(data)]
        return bool(data)

    def _end_chunk(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise HttpError(400, "a chunk is longer than its size")
        del self._buffer[:2]
        self._left = None
        return True

    def _decompressed(self, head: _Head, body: bytes) -> bytes:
        coding = head.headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if coding in ("", "identity"):
            return body
        if coding not in _GZIP:
            raise HttpError(415, f"the Content-Encoding is none of {', '.join(_GZIP)}")
        bare = coding == "deflate" and (not body or body[0] & 0xF != 8)
        inflater = zlib.decompressobj(wbits=-15 if bare else 47)
        try:
            found = inflater.decompress(body, self._most + 1)
        except zlib.error:
            raise HttpError(400, f"the request's body is not {coding}") from None
        if len(found) > self._most:
            raise self._too_large()
        if not inflater.eof:
            raise HttpError(400, f"the request's body is not complete {coding}")
        return found


def written(status: int, body: bytes, content_type: str, *, stays: bool, with_body: bool = True, more: str = "") -> bytes:
    """An answer. with_body: False for HEAD. more: headers, each with its end of line."""
    end = "" if stays else "Connection: close\r\n"
    head = f"HTTP/1.1 {status} {_phrase(status)}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}{end}\r\n"
    return head.encode("latin-1") + (body if with_body else b"")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
