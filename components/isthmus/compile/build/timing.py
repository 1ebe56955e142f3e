"""How long one request to a variant takes. Runs in a worker.

Nothing here changes what a release holds, so that it is no part of the compile key; it is part of what times are kept under.
"""

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

from isthmus.compile.build.evaluation import Arrays
from isthmus.compile.build.golden import plain_values
from isthmus.compile.build.running import EdgeRunner
from isthmus.release.manifest import Timing

# The embedded server needs about 22 short calls to find that it may run them on its event loop.
WARM_UP_REQUESTS = 40
MAX_REQUESTS = 300
MAX_SECONDS = 3.0
REQUEST_SECONDS = 60


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
