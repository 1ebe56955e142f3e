"""A model that waits where others compute, so that two cores hold as many busy servers as a plan names.

Each request says how long it takes (`work_ms`); a server works on one at a time, in the order of arrival, as a server whose model
keeps its core or its accelerator busy does. All else is as always: a SavedModel, served by the embedded server, measured at compile
time, and asked through the gateway.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NAME = "paced"
PREDICT = f"/v1/models/{NAME}:predict"
INPUT = "work_ms"
EXAMPLES = 512
# The golden ratio's multiples spread evenly over [0, 1), in whichever part of them one looks.
_GOLDEN = (np.sqrt(5) - 1) / 2

Floats = NDArray[np.float64]

# Distribution of the work of one request, by name: quantiles for a mean of 1.
DISTRIBUTIONS: dict[str, Callable[[Floats], Floats]] = {
    "exponential": lambda share: -np.log1p(-share),
    "normal": lambda share: 1 + 0.2 * np.array([NormalDist().inv_cdf(it) for it in share]),
}


def write_model(folder: Path, speed: float = 1.0) -> Path:
    """Writes a SavedModel that takes work / speed for a request. Returns its folder."""
    import tensorflow as tf

    # The dataset waits once for its one element, and once more for its end.
    microseconds_for_each_ms = 1000 / speed / 2

    class Paced(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name=INPUT)])  # type: ignore[untyped-decorator]
        def serve(self, work_ms: object) -> dict[str, object]:
            lane = tf.raw_ops.MutexV2(shared_name="lane")
            lock = tf.raw_ops.MutexLock(mutex=lane)
            shapes = [tf.TensorShape([None, 1])]
            with tf.control_dependencies([lock]):
                pause = tf.cast(tf.reduce_sum(work_ms) * microseconds_for_each_ms, tf.int64)
                one = tf.raw_ops.TensorDataset(components=[tf.identity(work_ms)], output_shapes=shapes)
                slow = tf.raw_ops.SleepDataset(input_dataset=one, sleep_microseconds=pause, output_types=[tf.float32], output_shapes=shapes)
                (done,) = tf.raw_ops.DatasetToSingleElement(dataset=slow, output_types=[tf.float32], output_shapes=shapes)
            with tf.control_dependencies([done]):
                released = tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)
            with tf.control_dependencies([released]):
                return {"worked_ms": tf.identity(done)}

    model = Paced()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    return folder


def spread_work(distribution: str, mean_ms: float, requests: int) -> Floats:
    """The work of so many requests in ms, shape (requests,): also a part of them has this distribution."""
    return mean_ms * DISTRIBUTIONS[distribution]((0.5 + np.arange(requests) * _GOLDEN) % 1)


def write_evaluation(file: Path, distribution: str, mean_ms: float) -> Path:
    """Writes held-out examples whose work has this distribution, however many of them the compiler takes. Returns the file."""
    work = spread_work(distribution, mean_ms, EXAMPLES).astype(np.float32).reshape(-1, 1)
    np.savez(file, **{INPUT: work, "y": work, "metric": "r2"})
    return file


def write_bodies(file: Path, distribution: str, mean_ms: float, requests: int, seed: int) -> Path:
    """Writes so many requests at random, a line each. Returns the file."""
    work = mean_ms * DISTRIBUTIONS[distribution](np.random.default_rng(seed).random(requests))
    file.write_text("".join(f"{json.dumps({'instances': [[round(float(it), 3)]]})}\n" for it in work))
    return file
