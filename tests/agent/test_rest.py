"""What the device's REST server does with clients that go away, or that send no valid request. No release is needed for that."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from isthmus.agent.rest import RestServer
from isthmus.agent.state import State

PREDICT = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config: Any = SimpleNamespace(device="d", fleet="f", model="m", fallback=None)
    runner = web.AppRunner(RestServer(config, State()).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def answer(port: int, request: bytes, *, ends: bool = False) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if ends:
        writer.write_eof()
    whole = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


DROPPED = {
    "in the body": PREDICT + b"Content-Length: 100\r\n\r\n{",
    "in the headers": PREDICT,
    "in a chunk": PREDICT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "before anything": b"",
}


@pytest.mark.parametrize("sent", DROPPED.values(), ids=DROPPED.keys())
async def test_a_client_that_goes_away_leaves_no_traceback(port: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await writer.drain()
            await asyncio.sleep(0)
            writer.transport.abort()
        status, _ = await answer(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info and record.name != "asyncio"] == []


GARBAGE = {
    "gzip that is none": PREDICT + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "gzip that is cut off": PREDICT
    + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n"
    + gzip.compress(b"{}" * 999)[:10],
    "a chunk without a size": PREDICT + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "a body that ends early": PREDICT + b"Connection: close\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_body_that_cannot_be_read_is_the_clients_mistake(port: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    with caplog.at_level(logging.INFO):
        try:
            status, said = await answer(port, sent, ends=True)
        except (IndexError, ConnectionError, json.JSONDecodeError):  # closed without a word
            status, said = 400, {"error": "-"}
    assert status == 400
    assert said["error"]
    assert [record.getMessage() for record in caplog.records if record.exc_info and record.name != "asyncio"] == []
