"""The model called without any server, in a process of its own: what benchmarks/serving.py compares the embedded server with.

`InProcess` is the benchmark's side; it does not import TensorFlow. Each call runs in the one worker process.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from serving_clients import Turn
from serving_processes import MODEL

SIGNATURE = "in process: signature"
SESSION = "in process: session"
WAYS = (SIGNATURE, SESSION)


class InProcess:
    """directory: with saved_model.pb. images: what batches are taken from. Both kinds of call run on the worker's main thread, with as
    many threads for one operation as the servers have.
    """

    def __init__(self, directory: Path, images: NDArray[np.float32]) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _load, (directory, images))

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def closed_loop(self, way: str, examples: int, seconds: float) -> Turn:
        """One call after the other for so long, each from an array to an array."""
        return self._pool.submit(_closed_loop, way, examples, seconds).result()

    def answer(self, way: str, examples: int) -> NDArray[np.float32]:
        return self._pool.submit(_answer, way, examples).result()

    def grpc_request(self, examples: int) -> bytes:
        """A PredictRequest, its numbers as raw bytes (`tensor_content`)."""
        return self._pool.submit(_grpc_request, examples).result()

    def grpc_answer(self, response: bytes) -> Any:
        return self._pool.submit(_grpc_answer, response).result()


# What the worker process has loaded.
_calls: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {}
_images: NDArray[np.float32]
_input: str


def _load(directory: Path, images: NDArray[np.float32]) -> None:
    global _images, _input  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark ends it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it calls the session's loader deprecated
    from isthmus.server.bundle import Parallelism, load_bundle
    from isthmus_agent.protocol import DEFAULT_SIGNATURE

    bundle = load_bundle(directory, parallelism=Parallelism(), warmup=False)
    signature = bundle.signatures[DEFAULT_SIGNATURE]
    function = tf.saved_model.load(str(directory)).signatures[DEFAULT_SIGNATURE]
    ((_input, output),) = zip(signature.inputs, signature.outputs, strict=True)
    _images = images
    _calls[SIGNATURE] = lambda batch: function(**{_input: tf.constant(batch)})[output].numpy()
    _calls[SESSION] = lambda batch: bundle.run(DEFAULT_SIGNATURE, {_input: batch})[output]


def _closed_loop(way: str, examples: int, seconds: float) -> Turn:
    call, batch, turn = _calls[way], _images[:examples], Turn()
    call(batch)
    cpu, began = time.process_time(), time.perf_counter()
    sent = began
    while sent < began + seconds:
        call(batch)
        answered = time.perf_counter()
        turn.latencies_ms.append(1000 * (answered - sent))
        sent = answered
    turn.seconds, turn.cpu_seconds = sent - began, {"server": time.process_time() - cpu}
    return turn


def _answer(way: str, examples: int) -> NDArray[np.float32]:
    return _calls[way](_images[:examples])


def _grpc_request(examples: int) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs[_input].CopyFrom(tf.make_tensor_proto(_images[:examples]))
    return bytes(request.SerializeToString())


def _grpc_answer(response: bytes) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    (output,) = predict_pb2.PredictResponse.FromString(response).outputs.values()
    return tf.make_ndarray(output)
