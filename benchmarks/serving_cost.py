"""Processor time of one call: `python benchmarks/serving_cost.py [--rounds N] [--requests N]`.

A product with a matrix of 3 × 2, which is what TensorFlow Serving itself was measured with (REAL): one row, over REST at 1, 8
and 32 connections and over gRPC, beside bare grpc.aio servers that answer the same messages: one runs the same model by the same
call of TensorFlow, the other none at all. Ways take turns; shown are medians over the rounds with (smallest–largest), from
/proc/PID/stat of the server alone.
"""

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import uvloop
from report import machine, spread
from serving_processes import server
from tensorflow_serving.apis import predict_pb2

MODEL = "cost"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
BODY = b'{"instances":[[1.0,2.0,3.0]]}'
REQUEST = b"POST /v1/models/%b:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (MODEL.encode(), len(BODY), BODY)
CONNECTIONS = (1, 8, 32)
# Requests a second of TensorFlow Serving 2.20 on two cores, which client and server share.
REAL = {1: 5000, 8: 14000, 32: 18000}
CORES = 2
WARM_UP = 300
# Bare servers, and whether they run the model.
BARE = {"a bare grpc.aio with the model": True, "a bare grpc.aio without it": False}


def make_model(directory: Path) -> None:
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w, self.b = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tf.Variable([0.5, -0.5])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def call(self, x):  # type: ignore[no-untyped-def]
            return {"y": tf.matmul(x, self.w) + self.b}

    model = Model()
    tf.saved_model.save(model, str(directory / "1"), signatures={"serving_default": model.call})


def bare(port: Any, model: Path | None) -> None:
    """A grpc.aio server that reads the request and answers with a message of the same kind: no checks, bounds, counts, versions.

    Args:
        port: where its port is put.
        model: the folder of the model that it runs; None: it knows the answer.
    """
    run = callable_of(model) if model else None

    async def answer(request: Any, _: Any) -> Any:
        values, shape = [22.5, 27.5], (1, 2)
        if run is not None:
            tensor = request.inputs["x"]
            array = np.array(tensor.float_val, np.float32).reshape([dim.size for dim in tensor.tensor_shape.dim])
            (output,) = run(array)
            values, shape = output.ravel().tolist(), output.shape
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        tensor = response.outputs["y"]
        tensor.dtype = 1
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.float_val.extend(values)
        return response

    async def serve() -> None:
        running = grpc.aio.server()
        read, write = predict_pb2.PredictRequest.FromString, predict_pb2.PredictResponse.SerializeToString
        method = grpc.unary_unary_rpc_method_handler(answer, read, write)
        service, name = PREDICT[1:].split("/")
        running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        bound = running.add_insecure_port("127.0.0.1:0")
        await running.start()
        port.value = bound
        await running.wait_for_termination()

    uvloop.run(serve())


def callable_of(model: Path) -> Callable[[Any], Any]:
    """TensorFlow's callable of the model's default signature, as the embedded server makes it."""
    from isthmus.server.bundle import Parallelism, load_bundle

    bundle = load_bundle(model / "1", parallelism=Parallelism(), warmup=False)
    bundle.run("serving_default", {"x": np.zeros((1, 3), np.float32)})
    (way,) = bundle._ways.values()
    return way.call


async def rest_client(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
    writer.close()


async def grpc_client(port: int, requests: int) -> None:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = MODEL
    tensor = message.inputs["x"]
    tensor.dtype = 1
    for size in (1, 3):
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend([1.0, 2.0, 3.0])
    data = message.SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(PREDICT)
        for _ in range(requests):
            await call(data)


def measure(client: Callable[[int, int], Coroutine[Any, Any, None]], port: int, pid: int, connections: int, requests: int) -> float:
    """Microseconds of a processor for each request."""

    async def run() -> None:
        await asyncio.gather(*(client(port, requests // connections) for _ in range(connections)))

    before = psutil.Process(pid).cpu_times()
    uvloop.run(run())
    after = psutil.Process(pid).cpu_times()
    return 1e6 * (after.user + after.system - before.user - before.system) / (requests // connections * connections)


def start_bare(stack: ExitStack, model: Path | None) -> tuple[int, int]:
    """Port and process number of a bare server, which ends with the stack."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Value("i", 0)
    process = spawn.Process(target=bare, args=(port, model))
    process.start()
    stack.callback(process.join)
    stack.callback(process.terminate)
    while not port.value:
        if not process.is_alive():
            raise SystemExit("a bare server ended before it served")
        time.sleep(0.1)
    return port.value, process.pid or 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        maker = spawn.Process(target=make_model, args=(scratch / "model",))
        maker.start()
        maker.join()
        running = server(0, scratch / "model", scratch, MODEL)
        stack.callback(running.close)
        running.wait()
        ways = [(f"REST, {n} at a time", rest_client, running.ports["rest"], running.pid, n) for n in CONNECTIONS]
        ways += [(f"gRPC, {n} at a time", grpc_client, running.ports["grpc"], running.pid, n) for n in CONNECTIONS]
        for name, model in BARE.items():
            port, other = start_bare(stack, scratch / "model" if model else None)
            ways += [(f"{name}, {n} at a time", grpc_client, port, other, n) for n in CONNECTIONS]
        found: dict[str, list[float]] = {name: [] for name, *_ in ways}
        for _, client, port, pid, _ in ways:
            measure(client, port, pid, 1, WARM_UP)
        for number in range(options.rounds):
            for name, client, port, pid, connections in ways[:: -1 if number % 2 else 1]:
                found[name].append(measure(client, port, pid, connections, options.requests))
    print(f"{datetime.now(UTC).date()}, {machine()}; load {psutil.getloadavg()[0]:.0f}; {options.rounds} rounds of {options.requests}")
    for name, figures in found.items():
        print(f"{name}: {spread(figures, 0)} µs")
    for connections, rate in REAL.items():
        real, ours = 1e6 * CORES / rate, found[f"REST, {connections} at a time"]
        print(
            f"REST, {connections} at a time, against the real one's {real:.0f} µs: {spread([real / figure for figure in ours])} × its speed"
        )
        for name in BARE:
            both = zip(found[f"gRPC, {connections} at a time"], found[f"{name}, {connections} at a time"], strict=True)
            print(f"gRPC, {connections} at a time, over {name}: {spread([figure / least for figure, least in both])} ×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
