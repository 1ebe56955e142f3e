"""What the server answers, and what it bears."""

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.isthmus_agent.contents import ROWS, Served, start, tiny_content

pytestmark = pytest.mark.slow

FRACTION = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
PREDICT = "POST /v1/models/digits:predict"
INSTANCES = json.dumps({"instances": ROWS}).encode()
ASKED: dict[str, tuple[str, bytes]] = {
    "rows": (PREDICT, INSTANCES),
    "columns": (PREDICT, json.dumps({"inputs": {"x": ROWS}}).encode()),
    "a version": ("POST /v1/models/digits/versions/1:predict", INSTANCES),
    "many rows": (PREDICT, json.dumps({"instances": ROWS * 30}).encode()),
    "a row by name": (PREDICT, json.dumps({"instances": [{"x": ROWS[0]}]}).encode()),
    "another version": ("POST /v1/models/digits/versions/2:predict", INSTANCES),
    "a label": ("POST /v1/models/digits/labels/stable:predict", INSTANCES),
    "another model": ("POST /v1/models/other:predict", INSTANCES),
    "classify": ("POST /v1/models/digits:classify", INSTANCES),
    "no JSON": (PREDICT, b"{"),
    "nothing": (PREDICT, b""),
    "no instances": (PREDICT, b'{"instances": []}'),
    "another key": (PREDICT, b'{"rows": [[1, 2, 3, 4]]}'),
    "another signature": (PREDICT, b'{"signature_name": "other", "instances": [[1, 2, 3, 4]]}'),
    "a text": (PREDICT, b'{"instances": [["a", 2, 3, 4]]}'),
    "too short a row": (PREDICT, b'{"instances": [[1, 2, 3]]}'),
    "rows of two lengths": (PREDICT, b'{"instances": [[1, 2, 3, 4], [1]]}'),
    "a number that is too large": (PREDICT, b'{"instances": [[1e400, 2, 3, 4]]}'),
    "not a number": (PREDICT, b'{"instances": [[NaN, 2, 3, 4]]}'),
    "status": ("GET /v1/models/digits", b""),
    "status of another": ("GET /v1/models/other", b""),
    "metadata": ("GET /v1/models/digits/metadata", b""),
    "metadata of another version": ("GET /v1/models/digits/versions/7/metadata", b""),
    "no model": ("GET /v1/models", b""),
    "outside": ("GET /v2/models/digits", b""),
    "another method": ("DELETE /v1/models/digits", b""),
    "options": ("OPTIONS /v1/models/digits", b""),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = start(tmp_path_factory.mktemp("served") / "slots", receive_seconds=2)
    served.serve(tiny_content())
    yield served
    served.serving.close()


async def answer(port: int, request: bytes, *, ends: bool = False) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if ends:
        writer.write_eof()
    whole = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


async def test_the_answers_are_those_that_devices_always_gave(served: Served) -> None:
    """Recorded from the agent before this one, which answered as TensorFlow Serving does. Numbers have three digits there."""
    recorded = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))
    found = {}
    for name, (line, body) in ASKED.items():
        request = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        status, headers, content = await answer(served.port, request)
        text = FRACTION.sub(lambda it: f"{float(it[0]):.3g}", content.decode())
        found[name] = [status, headers.get("content-type"), headers.get("x-isthmus-answered-by"), text]
    assert found == recorded


async def test_a_body_is_taken_in_chunks_and_compressed(served: Served) -> None:
    packed = gzip.compress(INSTANCES)
    head = f"{PREDICT} HTTP/1.1\r\nConnection: close\r\n".encode()
    plain = await answer(served.port, head + f"Content-Length: {len(INSTANCES)}\r\n\r\n".encode() + INSTANCES)
    chunked = await answer(
        served.port, head + f"Transfer-Encoding: chunked\r\n\r\n{len(INSTANCES):x}\r\n".encode() + INSTANCES + b"\r\n0\r\n\r\n"
    )
    zipped = await answer(served.port, head + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode() + packed)
    assert plain[0] == 200
    assert plain[2] == chunked[2] == zipped[2]


BEGUN = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\n"
DROPPED = {
    "in the body": BEGUN + b"Content-Length: 100\r\n\r\n{",
    "in the headers": BEGUN,
    "in a chunk": BEGUN + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "before anything": b"",
}


@pytest.mark.parametrize("sent", DROPPED.values(), ids=DROPPED.keys())
async def test_a_client_that_goes_away_hurts_nobody(served: Served, sent: bytes) -> None:
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(0)
        writer.transport.abort()
    status, _, _ = await answer(served.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status == 200


GARBAGE = {
    "gzip that is none": BEGUN + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "a chunk without a size": BEGUN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "a body that ends early": BEGUN + b"Content-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_body_that_cannot_be_read_is_the_clients_mistake(served: Served, sent: bytes) -> None:
    status, headers, body = await answer(served.port, sent, ends=True)
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]


async def test_a_request_that_does_not_come_in_whole_is_ended(served: Served) -> None:
    status, _, body = await answer(served.port, BEGUN + b"Content-Length: 100\r\n\r\n{")
    assert (status, json.loads(body)) == (408, {"error": "the request did not come in whole within 2 s"})


async def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = f"{PREDICT} HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {len(INSTANCES)}\r\n\r\n"
    writer.write(head.encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(INSTANCES)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_the_head_of_an_answer_is_the_whole_of_it_where_that_was_asked(served: Served) -> None:
    status, headers, body = await answer(served.port, b"HEAD /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
