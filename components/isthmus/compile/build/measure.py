"""Running the variants: what they answer, and how long one request takes. Runs in a worker."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Arrays
from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.build.golden import plain_values
from isthmus.compile.sources.load import first_line
from isthmus.errors import Problem, SourceError
from isthmus.release.manifest import TensorSpec, Timing

# The embedded server needs about 22 short calls to find that it may run them on its event loop.
WARM_UP_REQUESTS = 40
MAX_REQUESTS = 300
MAX_SECONDS = 3.0
REQUEST_SECONDS = 60


class ServingRunner:
    """The serving variant, through TensorFlow as a server runs it. directory: with saved_model.pb."""

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._loaded = tf.saved_model.load(str(directory))
        self._function = self._loaded.signatures[SIGNATURE]

    def run(self, inputs: Arrays, /) -> dict[str, NDArray[Any]]:
        answer = self._function(**{name: self._tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in answer.items()}


class EdgeRunner:
    """The edge variant, through the interpreter that devices have, on one thread.

    Args:
        way_out: what to advise where the interpreter refuses the model.

    Raises:
        SourceError: the interpreter cannot load the file, or the file lacks one of these inputs and outputs.
    """

    def __init__(self, file: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str, way_out: str = "") -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._where, self._way_out = where, way_out
        try:
            self._interpreter = Interpreter(model_content=file.read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from error
        # A model that takes the same as another's output may lose an input in the conversion.
        sides = (("inputs", inputs, self._runner.get_input_details()), ("outputs", outputs, self._runner.get_output_details()))
        for side, wanted, found in sides:
            if missing := {spec.name for spec in wanted} - set(found):
                raise SourceError(
                    [Problem(where, f"the converted model lost its {side} {', '.join(sorted(missing))}", f"{side} that are used")]
                )

    def run(self, inputs: Arrays, /) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises SourceError where the interpreter fails on these inputs."""
        try:
            return {name: np.asarray(value) for name, value in self._runner(**inputs).items()}
        except (ValueError, RuntimeError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> SourceError:
        what = f"the edge interpreter cannot run the model: {first_line(error)}"
        return SourceError([Problem(self._where, what, fix=self._way_out)])


def _time(requests: Iterator[Callable[[], Any]]) -> Timing:
    """requests: endless; what it takes to make one is not in the times."""
    for request in islice(requests, WARM_UP_REQUESTS):
        request()
    times_ms: list[float] = []
    end = time.perf_counter() + MAX_SECONDS
    while len(times_ms) < MAX_REQUESTS and (not times_ms or time.perf_counter() < end):
        request = next(requests)
        start = time.perf_counter()
        request()
        times_ms.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(times_ms, [50, 95])
    mean = float(np.mean(times_ms))
    scv = float(np.var(times_ms)) / mean**2
    return Timing(round(mean, 4), round(float(p50), 4), round(float(p95), 4), len(times_ms), round(scv, 4))


def time_edge(runner: EdgeRunner, examples: Sequence[Arrays]) -> Timing:
    """Runs of the interpreter with one example each, in turn: where a model takes longer for some, that is in the variance."""
    return _time(partial(runner.run, inputs) for inputs in cycle(examples))


def time_serving(directory: Path, model: str, examples: Sequence[Arrays]) -> Timing:
    """REST predict calls with one example each, in turn and one after the other, to the embedded server. directory: with VERSION/.

    The client is in the same process and its share is in the times, so they are a little too long rather than too short.
    """
    from isthmus.server.app import serving

    with serving(directory, model) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=REQUEST_SECONDS)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def call(body: str) -> None:
            connection.request("POST", f"/v1/models/{model}:predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise RuntimeError(f"the embedded server answered {response.status}: {answer[:300]!r}")

        try:
            # Bodies are written one by one: all of them together may be larger than the memory.
            return _time(partial(call, json.dumps({"inputs": {k: plain_values(v) for k, v in it.items()}})) for it in cycle(examples))
        finally:
            connection.close()
