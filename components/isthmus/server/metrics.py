"""Prometheus metrics under TensorFlow Serving's names, in its own spelling of the text format."""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain"

_PREFIX = ":tensorflow:serving:"
_BATCHING = "batching_session:"
_LATENCY_LIMITS_US = [10 * 1.8**i for i in range(33)]
_QUEUING_LIMITS_US = [100 * 1.2**i for i in range(52)]
_EXAMPLES_LIMITS = [2.0**i for i in range(15)]
_ROWS_LIMITS = [2.0**i for i in range(14)]

Labels = tuple[str, ...]


class _Counter:
    """A number for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self._labels = _PREFIX + name, labels
        self._values: dict[Labels, int] = {}

    def add(self, *labels: str, number: int = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + number

    def lines(self) -> list[str]:
        values = (f"{self.name}{{{_shown(self._labels, labels)}}} {value}" for labels, value in self._values.items())
        return [f"# TYPE {self.name} counter", *values]


class _Histogram:
    """Counts by upper limit, and the sum, for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        self.name, self._labels, self._limits = _PREFIX + name, labels, limits
        self._cells: dict[Labels, list[float]] = {}

    def add(self, value: float, *labels: str) -> None:
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells.setdefault(labels, [0] * (len(self._limits) + 1) + [0.0])
        cell[bisect_right(self._limits, value)] += 1  # a limit belongs to the bucket above it, as in TensorFlow
        cell[-1] += value

    def lines(self) -> list[str]:
        lines = [f"# TYPE {self.name} histogram"]
        limits = [f"{limit:g}" for limit in self._limits] + ["+Inf"]
        for labels, cell in self._cells.items():
            shown = _shown(self._labels, labels)
            first = f"{shown}," if shown else ""
            counts = list(accumulate(int(count) for count in cell[:-1]))
            lines += [f'{self.name}_bucket{{{first}le="{limit}"}} {count}' for limit, count in zip(limits, counts, strict=True)]
            lines += [f"{self.name}_sum{{{shown}}} {cell[-1]:g}", f"{self.name}_count{{{shown}}} {counts[-1]}"]
        return lines


def _shown(names: Sequence[str], values: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Metrics:
    """What the server counts and times. Only models that exist appear as labels, so that no client can grow the table."""

    def __init__(self) -> None:
        self._requests = _Counter("request_count", ["model_name", "status"])
        self._latency = _Histogram("request_latency", ["model_name", "API", "entrypoint"], _LATENCY_LIMITS_US)
        self._runtime = _Histogram("runtime_latency", ["model_name", "API", "runtime"], _LATENCY_LIMITS_US)
        self._example_counts = _Histogram("request_example_counts", ["model"], _EXAMPLES_LIMITS)
        self._example_total = _Counter("request_example_count_total", ["model"])
        self._input_rows = _Histogram(f"{_BATCHING}input_batch_size", [], _ROWS_LIMITS)
        self._padding_rows = _Histogram(f"{_BATCHING}padding_size", ["execution_batch_size"], _ROWS_LIMITS)
        self._run_rows = _Histogram(f"{_BATCHING}processed_batch_size", [], _ROWS_LIMITS)
        self._queuing = _Histogram(f"{_BATCHING}queuing_latency", ["thread_pool_name"], _QUEUING_LIMITS_US)
        self._batches = _Counter(f"{_BATCHING}wrapped_run_count", [])
        self._all = sorted((it for it in vars(self).values() if isinstance(it, _Counter | _Histogram)), key=lambda it: it.name)
        self._lock = threading.Lock()

    def answered(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """One call.

        Args:
            api: Predict and so on, in lower case for REST; empty for what is no prediction.
            entrypoint: REST or GRPC.
            status: a gRPC code's name, OK for success.
        """
        with self._lock:
            self._requests.add(model, status)
            if status == "OK":
                self._latency.add(seconds * 1e6, model, api, entrypoint)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """One run of a model."""
        with self._lock:
            self._runtime.add(seconds * 1e6, model, api, "TF1")

    def had_examples(self, model: str, count: int) -> None:
        """One call of MultiInference, the only one whose examples TensorFlow Serving counts."""
        with self._lock:
            self._example_counts.add(count, model)
            self._example_total.add(model, number=count)

    def joined(self, rows: int, inputs: int) -> None:
        """One call that is to be batched. rows: of each of its inputs."""
        with self._lock:
            for _ in range(inputs):
                self._input_rows.add(rows)

    def batched(self, waited_seconds: Iterable[float], rows: int, padding_rows: int) -> None:
        """One batch that is run.

        Args:
            waited_seconds: of each call in it.
            rows: with those that fill it up.
        """
        with self._lock:
            for seconds in waited_seconds:
                self._queuing.add(seconds * 1e6, "")
            self._padding_rows.add(padding_rows, str(rows))
            self._run_rows.add(rows)
            self._batches.add()

    def render(self) -> bytes:
        """Prometheus's text format; as TensorFlow Serving, in the order of the names."""
        with self._lock:
            lines = [line for metric in self._all for line in metric.lines()]
        return ("\n".join(lines) + "\n").encode()
