"""What clients may not do to a server: its memory, its descriptors, its time, its log."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import time
import zlib

import aiohttp
import grpc
import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow

BODY = b'{"instances":[[1,2,3]]}'
ZIPPED = gzip.compress(BODY)
MIB = 1 << 20
HEALTHY_SECONDS = 5  # a check that waits for another client's request takes longer; a busy machine alone does not


async def call(url: str, data: bytes, **options) -> tuple[int, dict]:
    async with aiohttp.ClientSession() as session, session.post(url, data=data, **options) as reply:
        return reply.status, json.loads(await reply.text())


async def check(url: str) -> float:
    """How long a status call takes, in seconds."""
    began = time.monotonic()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/models/m") as reply:
        assert reply.status == 200
    return time.monotonic() - began


async def slowest_check_during(url: str, work) -> tuple[float, object]:
    task, slowest = asyncio.ensure_future(work), 0.0
    while not task.done():
        slowest = max(slowest, await check(url))
        await asyncio.sleep(0.02)
    return slowest, await task


def flags(models, *more: str) -> tuple[str, ...]:
    return ("--model_name=m", f"--model_base_path={models}/m", *more)


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


@pytest.fixture
def predict_request():
    from tensorflow_serving.apis import predict_pb2

    def make(dims, dtype=1, signature="", name="x", **fields):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "m", signature
        tensor = request.inputs[name]
        tensor.dtype = dtype
        for size in dims:
            tensor.tensor_shape.dim.add(size=size)
        for field, values in fields.items():
            if field == "tensor_content":
                tensor.tensor_content = values
            else:
                getattr(tensor, field).extend(values)
        return request

    return make


@pytest.mark.parametrize(
    "tensor",
    [
        {"dims": [2**31], "dtype": 7},  # strings by the thousand million, in 32 bytes
        {"dims": [2**31], "dtype": 7, "signature": "str", "name": "s"},
        {"dims": [2**28], "float_val": [1.0]},  # one value for all of them
        {"dims": [2**28, 0]},  # no values at all, and an answer of 1 GB
        {"dims": [0, 2**40, 3]},
        {"dims": [2**62, 2**62]},
        {"dims": [2**33, 3], "tensor_content": b"\0" * 12},
        {"dims": [2**31], "dtype": 7, "signature": "str", "name": "s", "tensor_content": b"\0"},
        {"dims": [-1, 3], "float_val": [1.0]},
        {"dims": [1] * 300, "float_val": [1.0]},
        {"dims": [1, 3], "dtype": 99, "float_val": [1.0]},
        {"dims": [1, 3], "dtype": 2, "double_val": [1.0]},
    ],
)
async def test_a_tensor_is_believed_as_far_as_its_message_goes(models, serve_here, free_port, predict_request, tensor):
    before = resident_bytes()
    async with (
        serve_here(*flags(models, f"--port={free_port}")) as url,
        grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel,
    ):
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            await predict(predict_request(**tensor).SerializeToString(), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details()
        assert await check(url) < HEALTHY_SECONDS
    assert resident_bytes() - before < 500 * MIB


async def test_a_compressed_message_grows_to_a_bound(models, serve_here, free_port):
    bomb = gzip.compress(b"\0" * (300 * MIB), 1)
    async with serve_here(*flags(models, f"--port={free_port}")) as url:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{free_port}", compression=grpc.Compression.Gzip)
        async with channel:
            from tensorflow_serving.apis import predict_pb2

            request = predict_pb2.PredictRequest()
            request.model_spec.name = "m"
            request.inputs["x"].dtype = 1
            for size in (1, 3):
                request.inputs["x"].tensor_shape.dim.add(size=size)
            request.inputs["x"].float_val.extend([1.0])
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            reply = predict_pb2.PredictResponse.FromString(await predict(request.SerializeToString(), timeout=30))
            assert reply.outputs["y"].float_val[:] == pytest.approx([9.5, 11.5])  # what is compressed is read
        before = resident_bytes()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as plain:
            predict = plain.unary_unary("/tensorflow.serving.PredictionService/Predict")
            with pytest.raises(grpc.RpcError) as caught:
                await predict(bomb, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await check(url) < HEALTHY_SECONDS
        assert resident_bytes() - before < 300 * MIB


async def test_compressed_bodies_grow_to_a_bound_each_and_together(models, serve_here):
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    pieces = [compressor.compress(BODY)] + [compressor.compress(b" " * MIB) for _ in range(200)]
    bomb = b"".join([*pieces, compressor.flush()])
    async with serve_here(*flags(models)) as url:
        before = resident_bytes()
        work = asyncio.gather(*(call(f"{url}/v1/models/m:predict", bomb, headers={"Content-Encoding": "gzip"}) for _ in range(4)))
        slowest, replies = await slowest_check_during(url, work)
        assert {status for status, _ in replies} == {400}
        assert all("104857600 bytes" in reply["error"] for _, reply in replies)
        assert slowest < HEALTHY_SECONDS
        assert resident_bytes() - before < 300 * MIB


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        pytest.param(ZIPPED, "gzip", 200, id="whole"),
        pytest.param(ZIPPED, "x-gzip", 200, id="whole, by its old name"),
        pytest.param(ZIPPED, "identity, gzip", 200, id="whole, after none"),
        # TensorFlow Serving looks for the word as it is written.
        pytest.param(ZIPPED, "GZIP", 400, id="in capitals"),
        pytest.param(ZIPPED[:-1], "gzip", 400, id="a byte short"),
        pytest.param(ZIPPED[:-9], "gzip", 400, id="without an end"),
        pytest.param(ZIPPED + b"x", "gzip", 400, id="with more behind it"),
        pytest.param(gzip.compress(BODY[:10]) + gzip.compress(BODY[10:]), "gzip", 400, id="in two parts"),
        pytest.param(ZIPPED[:-8] + b"\0" * 4 + struct.pack("<I", len(BODY)), "gzip", 400, id="with a wrong checksum"),
        pytest.param(ZIPPED[:-4] + struct.pack("<I", 5), "gzip", 400, id="with a wrong length"),
        pytest.param(b"", "gzip", 400, id="empty"),
    ],
)
async def test_a_compressed_body_is_whole_or_empty(models, serve_here, body, encoding, status):
    async with serve_here(*flags(models)) as url:
        found, reply = await call(f"{url}/v1/models/m:predict", body, headers={"Content-Encoding": encoding})
        assert found == status
        assert status == 200 or reply["error"].startswith("JSON Parse error")


async def test_a_large_body_keeps_nobody_waiting(models, serve_here):
    body = b'{"instances":[' + b",".join([b"[1.5,2.5,3.5]"] * (24 * MIB // 14)) + b"]}"
    async with serve_here(*flags(models)) as url:
        async with aiohttp.ClientSession() as session:

            async def send() -> int:
                async with session.post(f"{url}/v1/models/m:predict", data=body) as reply:
                    await reply.read()
                    return reply.status

            slowest, status = await slowest_check_during(url, send())
        assert status in (200, 504)  # 24 MiB of JSON may take longer than a call may
        assert slowest < HEALTHY_SECONDS


async def test_a_large_body_that_is_wrong_is_refused_with_the_text_of_a_small_one(models, serve_here):
    async with serve_here(*flags(models)) as url:
        for row in (b"{}", b'["a"]', b"[1,2,3],[1]"):
            (status, small), (large_status, large) = [
                await call(f"{url}/v1/models/m:predict", b'{"instances":[' + b",".join([row] * count) + b"]}") for count in (1, 400_000)
            ]
            assert (status, large_status) == (400, 400)
            assert large == small
        missing = await call(f"{url}/v1/models/nope:predict", b'{"instances":[' + b",".join([b"1"] * 400_000) + b"]}")
        assert missing == (404, {"error": "Servable not found for request: Latest(nope)"})


async def test_a_call_whose_time_depends_on_a_value_keeps_nobody_waiting_however_many_short_ones_were_before(models, serve_here):
    async with serve_here("--model_name=slow", f"--model_base_path={models}/slow", "--rest_api_timeout_in_ms=1000") as url:
        for _ in range(50):
            assert (await call(f"{url}/v1/models/slow:predict", b'{"inputs": 1}'))[0] == 200
        slow = asyncio.ensure_future(call(f"{url}/v1/models/slow:predict", b'{"inputs": 2000000}'))
        await asyncio.sleep(0)
        began = time.monotonic()
        assert (await call(f"{url}/v1/models/slow:predict", b'{"inputs": 1}'))[0] == 200
        assert time.monotonic() - began < HEALTHY_SECONDS
        assert (await slow)[0] == 504


def opened(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


async def test_connections_that_never_finish_a_request_give_way(models, serve_here, monkeypatch):
    from isthmus.server import app

    monkeypatch.setattr(app, "connection_limits", lambda _: (20, 20))
    async with serve_here(*flags(models)) as url:
        with contextlib.ExitStack() as stack:
            kept = stack.enter_context(opened(url))
            kept.sendall(b"GET /v1/models/m HTTP/1.1\r\n\r\n")
            assert b"200 OK" in await asyncio.to_thread(kept.recv, 65536)
            for _ in range(100):
                half = stack.enter_context(opened(url))
                half.sendall(b"POST /v1/models/m:predict HT")
                await asyncio.sleep(0)
            assert await check(url) < HEALTHY_SECONDS
            kept.sendall(b"GET /v1/models/m HTTP/1.1\r\n\r\n")  # one that did finish some is kept
            assert b"200 OK" in await asyncio.to_thread(kept.recv, 65536)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/models/m HTTP/1.1\r\nX: " + b"x" * 400_000, 431),
        (b"GET /" + b"x" * 400_000, 431),
        (b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 400_000, 431),
        (b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{", 413),
        (b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"\x16\x03\x01\0\0", 501),
        (b"BREW /v1/models/m HTTP/1.1\r\n\r\n", 501),
        (b"TRACE /v1/models/m HTTP/1.1\r\n\r\n", 501),
        (b"GET /v1/models/m HTTP/1.1\r\nno header\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_gets_one_reply_and_the_connection_ends(models, serve_here, sent, status):
    async with serve_here(*flags(models)) as url:
        with opened(url) as client:

            def talk() -> bytes:
                with contextlib.suppress(OSError):
                    client.sendall(sent)
                reply = b""
                with contextlib.suppress(OSError):
                    while data := client.recv(65536):
                        reply += data
                return reply

            reply = await asyncio.to_thread(talk)
        assert reply.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in reply
        assert reply.count(b"HTTP/1.1") == 1
        assert await check(url) < HEALTHY_SECONDS


async def test_clients_that_leave_are_one_line_and_no_traceback(models, serve_here, caplog):
    body = json.dumps({"instances": [[1, 2, 3]] * 20000}).encode()
    async with serve_here(*flags(models)) as url:
        for index in range(40):
            client = opened(url)
            if index % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.sendall(body[: len(body) // (1 + index % 3)])
            client.close()
            await asyncio.sleep(0)
        assert await check(url) < HEALTHY_SECONDS
    lines = [record for record in caplog.records if "left before they had their reply" in record.getMessage()]
    assert 1 <= len(lines) <= 5
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in caplog.text


async def test_requests_that_come_together_are_answered_in_their_order(models, serve_here):
    async with serve_here(*flags(models)) as url:
        with opened(url) as client:
            rows = [[index, 0, 0] for index in range(200)]
            bodies = [json.dumps({"instances": [row] * (1 if row[0] % 3 else 2000)}).encode() for row in rows]
            head = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n"
            sent = [head % (len(body), b"Connection: close\r\n" if body is bodies[-1] else b"") + body for body in bodies]

            def talk() -> bytes:
                client.sendall(b"".join(sent))
                reply = b""
                while data := client.recv(1 << 20):
                    reply += data
                return reply

            replies = (await asyncio.to_thread(talk)).split(b"HTTP/1.1 200 OK\r\n")[1:]
        firsts = [json.loads(reply.split(b"\r\n\r\n", 1)[1])["predictions"][0][0] for reply in replies]
        np.testing.assert_allclose(firsts, [index + 0.5 for index in range(200)])


async def test_http_1_0_is_answered_in_http_1_0(models, serve_here):
    async with serve_here(*flags(models)) as url:
        for header, rest in ((b"", b"Connection: close"), (b"Connection: keep-alive\r\n", b"Connection: keep-alive")):
            with opened(url) as client:
                client.sendall(b"GET /v1/models/m HTTP/1.0\r\n" + header + b"\r\n")
                reply = await asyncio.to_thread(client.recv, 65536)
                assert reply.startswith(b"HTTP/1.0 200 OK\r\n")
                assert rest in reply


async def test_other_origins_are_allowed_where_a_flag_says_so(models, serve_here):
    for extra, allowed in (((), None), (("--rest_api_enable_cors_support",), "*")):
        async with serve_here(*flags(models, *extra)) as url, aiohttp.ClientSession() as session:
            async with session.options(f"{url}/v1/models/m:predict", headers={"Origin": "https://example.test"}) as reply:
                assert (reply.status, await reply.read()) == (200, b"")
                assert reply.headers.get("Access-Control-Allow-Origin") == allowed
            async with session.options(f"{url}/v1/models/m:predict") as reply:
                assert reply.status == 400
            async with session.post(f"{url}/v1/models/m:predict", data=b"{") as reply:
                assert reply.headers.get("Access-Control-Allow-Origin") == allowed
                assert reply.headers.get("Access-Control-Allow-Methods") == ("POST, GET" if allowed else None)
