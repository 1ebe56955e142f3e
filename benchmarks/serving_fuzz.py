"""What clients can do to a server: `python benchmarks/serving_fuzz.py [--seconds S] [--seed N] [--clients N]`.

Clients send the embedded server valid calls, damaged ones, bombs, halves and noise, over REST and gRPC, directly and through
the gateway (Envoy). Meanwhile a watcher asks for the model's status twice a second and looks at the server's memory and
descriptors. The server has to stay alive and healthy, to answer valid calls right, and never to fail inside: an answer that
says so, or a traceback in its log, is an error, and the input that led to it is written down. Ends with 1 where there was one.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import multiprocessing
import random
import re
import signal
import statistics
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import grpc
import psutil
from report import machine
from serving_processes import Running, gateway_to, server
from tensorflow_serving.apis import predict_pb2

MODEL = "fuzzed"
PREDICT = f"/v1/models/{MODEL}:predict"
RPC = "/tensorflow.serving.PredictionService/"
MIB = 1 << 20
TIMEOUT_SECONDS = 60
WATCH_SECONDS = 0.5
SETTLE_SECONDS = 5
INTERNAL = "internal error of the server"
DTYPES = (*range(25), 99, 101)
VALUES = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val", "uint64_val", "half_val", "string_val")


def make_model(directory: Path) -> None:
    """A model with arithmetic, strings, a loop whose length is a value, and examples. In a process of its own: TensorFlow is large."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def dense(self, x):  # type: ignore[no-untyped-def]
            return {"y": tf.matmul(x, [[1.0], [2.0], [3.0]])}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="s")])
        def text(self, s):  # type: ignore[no-untyped-def]
            return {"length": tf.strings.length(s), "same_bytes": s}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="n")])
        def loop(self, n):  # type: ignore[no-untyped-def]
            return {"y": tf.while_loop(lambda i: i < tf.minimum(n, 200_000), lambda i: (i + 1,), (tf.constant(0),))[0]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def examples(self, inputs):  # type: ignore[no-untyped-def]
            return {"outputs": tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)})["x"]}

    model = Model()
    numbers = {
        kind.name: tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec(None, kind, name="x")])
        for kind in (tf.float16, tf.bfloat16, tf.float64, tf.int8, tf.uint16, tf.int64, tf.uint64, tf.bool, tf.complex64)
    }
    signatures = {"serving_default": model.dense, "text": model.text, "loop": model.loop, "examples": model.examples, **numbers}
    tf.saved_model.save(model, str(directory / "1"), signatures=signatures)


@dataclass
class Found:
    """What came of it all. kinds: how often what was sent, and what it led to. errors: what must not be."""

    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    health_ms: list[float] = field(default_factory=list)
    unhealthy: int = 0
    memory_mib: list[float] = field(default_factory=list)
    helper_mib: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


class Fuzzer:
    """Sends one thing after the other. places: name → (REST port, gRPC port)."""

    def __init__(self, places: dict[str, tuple[int, int]], seed: int, found: Found, kept: Path) -> None:
        self._places, self._random, self._found, self._kept = places, random.Random(seed), found, kept  # noqa: S311
        everyday: list[Callable[[str], Awaitable[tuple[str, str]]]] = [
            *(self.valid_rest, self.valid_grpc, self.damaged_json, self.odd_json, self.odd_request, self.damaged_message, self.odd_tensor),
            *(self.noise, self.half_a_request, self.compressed, self.leaves, self.examples, self.cancelled),
        ]
        self._choices = everyday * 12 + [self.bomb, self.grpc_bomb, self.large, self.slow]

    async def run(self, end: float) -> None:
        while time.monotonic() < end:
            place, send = self._random.choice(list(self._places)), self._random.choice(self._choices)
            try:
                kind, outcome = await send(place)
            except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                kind, outcome = send.__name__, type(error).__name__
            self._found.kinds[f"{kind}, {place}", outcome] += 1

    # What is sent. Each returns its kind and what came of it.

    async def valid_rest(self, place: str) -> tuple[str, str]:
        row = [self._random.randint(-99, 99) for _ in range(3)]
        status, reply = await self._post(place, json.dumps({"instances": [row] * self._random.choice((1, 1, 1, 50))}).encode())
        expected = row[0] + 2.0 * row[1] + 3.0 * row[2]
        if status == 200 and json.loads(reply)["predictions"][-1] != [expected]:
            self._error(f"a wrong answer to {row}: {reply[:200]!r}", reply)
        return "a valid REST call", str(status)

    async def valid_grpc(self, place: str) -> tuple[str, str]:
        row = [float(self._random.randint(-99, 99)) for _ in range(3)]
        code, reply = await self._call(place, "Predict", self._request([1, 3], 1, "", float_val=row))
        if code == "OK" and struct.pack("<f", row[0] + 2 * row[1] + 3 * row[2]) not in reply:
            self._error(f"a wrong answer over gRPC: {reply[:200]!r}", reply)
        return "a valid gRPC call", code

    async def damaged_json(self, place: str) -> tuple[str, str]:
        body = bytearray(
            json.dumps({"signature_name": "text", "instances": [{"s": "a\u00e9"}, {"s": {"b64": "AAAA"}}], "n": [1.5, None]}).encode()
        )
        self._damage(body)
        return "damaged JSON", str((await self._post(place, bytes(body)))[0])

    async def odd_json(self, place: str) -> tuple[str, str]:
        signature = self._random.choice(("", "text", "loop", "examples", "float16", "int8", "uint64", "bool", "complex64", "nope"))
        form = self._random.choice(("instances", "inputs"))
        value = self._value(0)
        body = json.dumps({"signature_name": signature, form: self._random.choice((value, [value], {"x": value}, [{"x": value}]))})
        return "odd values", str((await self._post(place, body.encode("utf-8", "surrogatepass")))[0])

    async def odd_request(self, place: str) -> tuple[str, str]:
        method = self._random.choice(("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "get"))
        path = self._random.choice(
            ("/", PREDICT, "/v1/models", f"/v1/models/{MODEL}", f"/v1/models/{MODEL}/versions/9", "/monitoring/prometheus/metrics")
        )
        path += "".join(self._random.choices("/:%?#aZ0é\x7f", k=self._random.randint(0, 6)))
        request = f"{method} {path} HTTP/1.{self._random.choice('0119')}\r\nHost: x\r\nConnection: close\r\n\r\n"
        return "odd method or path", await self._raw(place, request.encode())

    async def damaged_message(self, place: str) -> tuple[str, str]:
        rows = self._random.choice((1, 2))  # one row: a message like the valid ones, which the server knows
        data = bytearray(self._request([rows, 3], 1, "", float_val=[1.0] * 3 * rows))
        self._damage(data)
        method = self._random.choice(("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"))
        return "a damaged message", (await self._call(place, method, bytes(data)))[0]

    async def odd_tensor(self, place: str) -> tuple[str, str]:
        sizes = (0, 1, 2, 3, 3, 1000, -1, 2**20, 2**31, 2**40, 2**63 - 1)
        dims = [self._random.choice(sizes) for _ in range(self._random.choice((0, 1, 2, 2, 3, 300)))]
        signature = self._random.choice(("", "text", "loop", "float16", "bfloat16", "int8", "uint64", "bool", "complex64"))
        fields = {self._random.choice(VALUES): self._random.choice(([], [1], [1] * 6))}
        if self._random.random() < 0.2:
            fields = {"tensor_content": self._random.randbytes(self._random.choice((1, 12, 24, 100)))}
        return "an odd tensor", (await self._call(place, "Predict", self._request(dims, self._random.choice(DTYPES), signature, **fields)))[
            0
        ]

    async def noise(self, place: str) -> tuple[str, str]:
        return "noise", await self._raw(place, self._random.randbytes(self._random.choice((1, 20, 1000, 100_000))))

    async def half_a_request(self, place: str) -> tuple[str, str]:
        _, writer = await asyncio.open_connection("127.0.0.1", self._places[place][0])
        writer.write(
            self._random.choice(
                (b"POST ", b"GET /v1/models/m HTTP/1.1\r\nHost", b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
            )
        )
        await asyncio.sleep(self._random.choice((0, 0.5)))
        writer.transport.abort()
        return "half a request", "left"

    async def compressed(self, place: str) -> tuple[str, str]:
        body = bytearray(gzip.compress(b'{"instances": [[1, 2, 3]]}' + b" " * self._random.choice((0, 10_000))))
        if self._random.random() < 0.5:
            self._damage(body)
        status, _ = await self._post(place, bytes(body), {"Content-Encoding": self._random.choice(("gzip", "x-gzip", "GZIP", "deflate"))})
        return "a compressed body", str(status)

    async def leaves(self, place: str) -> tuple[str, str]:
        body = json.dumps({"instances": [[1, 2, 3]] * 5000}).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", self._places[place][0])
        writer.write(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await asyncio.sleep(self._random.choice((0, 0, 0.01)))
        writer.transport.abort()
        return "a client that leaves", "left"

    async def examples(self, place: str) -> tuple[str, str]:
        call = self._random.choice(("regress", "classify"))
        body = json.dumps(
            {"signature_name": "examples", "examples": self._random.choice(([{"x": 1.5}], [{"x": [self._value(1)]}], [{}], {}, [1]))}
        )
        path = f"/v1/models/{MODEL}:{call}"
        return "examples", str((await self._post(place, body.encode("utf-8", "surrogatepass"), path=path))[0])

    async def cancelled(self, place: str) -> tuple[str, str]:
        data = self._request([20_000, 3], 1, "", float_val=[1.0] * 60_000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._call(place, "Predict", data), 0.005)
        return "a cancelled gRPC call", "left"

    async def bomb(self, place: str) -> tuple[str, str]:
        body = await asyncio.to_thread(_bomb, self._random.choice((50, 99, 150, 400)))
        return "a compressed bomb", str((await self._post(place, body, {"Content-Encoding": "gzip"}))[0])

    async def grpc_bomb(self, place: str) -> tuple[str, str]:
        data = await asyncio.to_thread(gzip.compress, bytes(self._random.choice((50, 150, 300)) * MIB), 1)
        return "a compressed gRPC bomb", (await self._call(place, "Predict", data))[0]

    async def large(self, place: str) -> tuple[str, str]:
        row = self._random.choice((b"[1.5,2.5,3.5]", b"[1,2,3]", b'["a"]', b"[[[[1]]]]", b"{}"))
        body = b'{"instances":[' + b",".join([row] * (self._random.choice((1, 4, 16)) * MIB // len(row))) + b"]}"
        return "a large body", str((await self._post(place, body))[0])

    async def slow(self, place: str) -> tuple[str, str]:
        body = json.dumps({"signature_name": "loop", "inputs": 10**9}).encode()
        return "a long loop", str((await self._post(place, body))[0])

    # How it is sent.

    async def _post(self, place: str, body: bytes, headers: dict[str, str] | None = None, path: str = PREDICT) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self._places[place][0]}{path}"
        timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url, data=body, headers=headers) as reply:
            answer = await reply.read()
        if reply.status == 500 or INTERNAL.encode() in answer:
            self._error(f"HTTP {reply.status}: {answer[:200]!r}", body)
        if reply.status >= 400 and not answer.strip():
            self._error(f"HTTP {reply.status} without a text", body)
        return reply.status, answer

    async def _raw(self, place: str, data: bytes) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._places[place][0])
        writer.write(data)
        writer.write_eof()
        try:
            reply = await asyncio.wait_for(reader.read(64), 5)
        except TimeoutError:
            reply = b""
        finally:
            writer.transport.abort()
        return reply[9:12].decode(errors="replace") if reply.startswith(b"HTTP/") else "closed"

    async def _call(self, place: str, method: str, data: bytes) -> tuple[str, bytes]:
        target = f"127.0.0.1:{self._places[place][1]}"
        async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                return "OK", await channel.unary_unary(RPC + method)(data, timeout=TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                if INTERNAL in (error.details() or "") or error.code() is grpc.StatusCode.UNKNOWN:
                    self._error(f"gRPC {error.code().name}: {error.details()}", data)
                return error.code().name, b""

    def _request(self, dims: list[int], dtype: int, signature: str, **fields: object) -> bytes:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = MODEL, signature
        tensor = request.inputs[{"text": "s", "loop": "n"}.get(signature, "x")]
        tensor.dtype = dtype
        for size in dims:
            tensor.tensor_shape.dim.add(size=size)
        for name, values in fields.items():
            if name == "tensor_content":
                tensor.tensor_content = values
            else:
                getattr(tensor, name).extend([b"1" if name == "string_val" else value for value in values])  # type: ignore[attr-defined]
        return bytes(request.SerializeToString())

    def _damage(self, data: bytearray) -> None:
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(data) + 1)
            match self._random.randrange(4):
                case 0 if at < len(data):
                    data[at] ^= 1 << self._random.randrange(8)
                case 1:
                    del data[at : at + self._random.randint(1, 9)]
                case 2:
                    data[at:at] = self._random.choice((b"[", b"{", b'"', b"\\u", b"1e999", b"\xff", b"NaN,", b"\0", b"-"))
                case _:
                    data[at:at] = data[: self._random.randint(0, len(data))]

    def _value(self, depth: int) -> object:
        plain = (
            0,
            -1,
            2**31,
            2**63,
            2**64,
            10**400,
            0.1,
            1e300,
            float("nan"),
            True,
            None,
            "",
            "a",
            "\ud800",
            {"b64": "AA"},
            {"b64": "!"},
            {},
        )
        if depth > 3 or self._random.random() < 0.5:
            return self._random.choice(plain)
        return [self._value(depth + 1) for _ in range(self._random.randint(0, 3))]

    def _error(self, text: str, data: bytes) -> None:
        self._found.errors.append(text)
        (self._kept / f"{len(self._found.errors)}.bin").write_bytes(data)


def _bomb(size_mib: int) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    pieces = [compressor.compress(b'{"instances": [[1, 2, 3')] + [compressor.compress(b" " * MIB) for _ in range(size_mib)]
    return b"".join([*pieces, compressor.compress(b"]]}"), compressor.flush()])


async def watch(running: Running, found: Found, end: float) -> None:
    """Health, memory and descriptors, until then."""
    process, url = psutil.Process(running.pid), f"http://127.0.0.1:{running.ports['rest']}/v1/models/{MODEL}"
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session, session.get(url) as reply:
                found.unhealthy += reply.status != 200
        except (aiohttp.ClientError, TimeoutError):
            found.unhealthy += 1
        found.health_ms.append(1000 * (time.monotonic() - began))
        found.memory_mib.append(process.memory_info().rss / MIB)
        with contextlib.suppress(psutil.Error):
            found.helper_mib.append(sum(child.memory_info().rss for child in process.children()) / MIB)
        found.descriptors.append(process.num_fds())
        await asyncio.sleep(WATCH_SECONDS)


async def fuzz(options: argparse.Namespace, running: Running, gateway: Running, kept: Path) -> Found:
    found, end = Found(), time.monotonic() + options.seconds
    places = {name: (it.ports["rest"], it.ports["grpc"]) for name, it in (("direct", running), ("gateway", gateway))}
    clients = [Fuzzer(places, options.seed * 1000 + number, found, kept).run(end) for number in range(options.clients)]
    await asyncio.gather(watch(running, found, end + SETTLE_SECONDS), *clients)
    return found


def show(options: argparse.Namespace, found: Found, log: str) -> None:
    sent = Counter[str]()
    for (kind, _), count in found.kinds.items():
        sent[kind] += count
    print(f"{datetime.now(UTC).date()}, {machine()}; {options.seconds:g} s, {options.clients} clients, seed {options.seed}")
    for kind, count in sorted(sent.items()):
        outcomes = Counter({outcome: number for (name, outcome), number in found.kinds.items() if name == kind})
        print(f"  {kind}: {count} ({', '.join(f'{outcome} {number}' for outcome, number in outcomes.most_common(6))})")
    health, memory, descriptors = sorted(found.health_ms), found.memory_mib, found.descriptors
    print(f"things sent: {sum(sent.values())}; tracebacks in the log: {log.count('Traceback')}; lines in it: {log.count(chr(10))}")
    print(f"health checks: {len(health)}, failed {found.unhealthy}; ms: median {statistics.median(health):.0f}, slowest {health[-1]:.0f}")
    print(f"the server's memory, MiB: {memory[0]:.0f} at first, {max(memory):.0f} at most, {memory[-1]:.0f} at the end")
    print(f"the helper's memory, MiB: {max(found.helper_mib, default=0):.0f} at most")
    print(f"descriptors: {descriptors[0]} at first, {max(descriptors)} at most, {descriptors[-1]} at the end")
    for text in [*found.errors, *tracebacks(log)][:20]:
        print("ERROR", text)


def tracebacks(log: str) -> list[str]:
    """Each with the line before it, up to the next line that has a time."""
    return re.findall(r"(?:^.*\n)?^Traceback \(most recent.*(?:\n(?!\d{4}-).*)*", log, re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kept", type=Path, help="where inputs that led to errors are written; default: a folder that is removed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = options.kept or scratch / "kept"
        kept.mkdir(exist_ok=True)
        maker = multiprocessing.get_context("spawn").Process(target=make_model, args=(scratch / "model",))
        maker.start()
        maker.join()
        running = server(0, scratch / "model", scratch, MODEL, "--rest_api_timeout_in_ms=10000")
        stack.callback(running.close)
        running.wait()
        gateway = gateway_to([running], scratch, model=MODEL)
        stack.callback(gateway.close)
        gateway.wait()
        found = asyncio.run(fuzz(options, running, gateway, kept))
        log, alive = running.log, psutil.pid_exists(running.pid) and psutil.Process(running.pid).status() != psutil.STATUS_ZOMBIE
    show(options, found, log)
    if not alive:
        print("ERROR the server ended:", log[-2000:])
    return int(bool(found.errors or not alive or "Traceback" in log or found.unhealthy))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
