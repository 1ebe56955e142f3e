"""Requests out of bytes, however these come, and no more of them in memory than is allowed."""

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.server.http import MOST_HEAD_BYTES, MOST_HEADERS, HttpError, Reader, Request, written

MOST = 1000
POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"


def read(content: bytes, most: int = MOST) -> Request | None:
    reader = Reader(most)
    reader.feed(content)
    return reader.take()


SENT = {
    "a length": POST + b"Content-Length: 4\r\n\r\nbody",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3;x=y\r\nody\r\n0\r\n\r\n",
    "chunks with something behind": POST + b"Transfer-Encoding: Chunked\r\n\r\n004\r\nbody\r\n0\r\nA: b\r\n\r\n",
    "gzip": POST + b"Content-Encoding: gzip\r\nContent-Length: 24\r\n\r\n" + gzip.compress(b"body", mtime=0),
    "an empty line before": b"\r\n" + POST + b"Content-Length: 4\r\n\r\nbody",
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
@given(data=st.data())
def test_a_request_is_the_same_in_whatever_pieces_it_comes(sent, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    reader, found = Reader(MOST), []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        reader.feed(sent[start:end])
        if request := reader.take():
            found.append(request)
    assert found == [Request("POST", "/v1/models/m:predict", b"body", True)]
    assert reader.is_between
    assert reader.held_bytes == 0


def test_two_requests_at_once_are_read_one_after_the_other():
    reader = Reader(MOST)
    reader.feed(SENT["chunks"] + SENT["a length"])
    assert [reader.take().body, reader.take().body, reader.take()] == [b"body", b"body", None]


@pytest.mark.parametrize(
    ("version", "header", "stays"),
    [(b"1.1", b"A: b", True), (b"1.1", b"Connection: close", False), (b"1.0", b"A: b", False), (b"1.0", b"connection: Keep-Alive", True)],
)
def test_a_connection_stays_as_its_client_says(version, header, stays):
    assert read(b"GET / HTTP/" + version + b"\r\n" + header + b"\r\n\r\n").stays == stays


REFUSED = {
    "no HTTP": (400, b"\x16\x03\x01 hello\r\n\r\n"),
    "no HTTP, and no end": (400, b"\x16\x03\x01 hello\r\n"),
    "another version": (400, b"GET / HTTP/2.0\r\n\r\n"),
    "a header without a name": (400, POST + b": x\r\n\r\n"),
    "a header on two lines": (400, POST + b"A: b\r\n c\r\n\r\n"),
    "a space before the colon": (400, POST + b"Content-Length : 4\r\n\r\nbody"),
    "two lengths": (400, POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n"),
    "two deadlines": (400, POST + b"X-Isthmus-Deadline-Ms: 4\r\nx-isthmus-deadline-ms: 4\r\n\r\n"),
    "a length and chunks": (400, POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a length that is none": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "another coding": (400, POST + b"Transfer-Encoding: gzip\r\n\r\n"),
    "a chunk without a size": (400, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a chunk that is longer": (400, POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabcd"),
    "gzip that is none": (400, POST + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"),
    "gzip that is cut off": (400, POST + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + gzip.compress(b"{}" * 99)[:10]),
    "a coding that is not known": (415, POST + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nnope"),
    "a large body": (413, POST + b"Content-Length: 1001\r\n\r\n"),
    "a large chunk": (413, POST + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n"),
    "many headers": (431, POST + b"A: b\r\n" * MOST_HEADERS + b"\r\n"),
    "a large head": (431, POST + b"A: " + b"b" * MOST_HEAD_BYTES),
    "a large line of a chunk": (400, POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000),
}


@pytest.mark.parametrize(("status", "sent"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused(status, sent):
    with pytest.raises(HttpError) as refused:
        read(sent)
    assert refused.value.status == status


@pytest.mark.parametrize("compressed", [gzip.compress(bytes(10_000_000)), zlib.compress(bytes(10_000_000))])
def test_a_body_that_grows_is_refused_before_it_is_there(compressed):
    head = POST + f"Content-Encoding: gzip\r\nContent-Length: {len(compressed)}\r\n\r\n".encode()
    with pytest.raises(HttpError, match="larger than 20000 bytes"):
        read(head + compressed, 20_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(content):
    reader = Reader(MOST)
    reader.feed(POST[:20] + content)
    with suppress(HttpError):
        reader.take()


def test_an_answer_says_how_long_it_is_also_without_its_body():
    whole = written(200, b"{}", "application/json", stays=True)
    assert whole == b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    assert written(200, b"{}", "application/json", stays=False, with_body=False).endswith(b"Length: 2\r\nConnection: close\r\n\r\n")
