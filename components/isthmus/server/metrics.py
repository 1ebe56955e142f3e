"""Prometheus metrics under TensorFlow Serving's names, in its own spelling of the text format."""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain"

_PREFIX = ":tensorflow:serving:"
_LATENCY_LIMITS_US = [10 * 1.8**i for i in range(33)]

Labels = tuple[str, ...]


class _Counter:
    """A number for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self._name, self._labels = _PREFIX + name, labels
        self._values: dict[Labels, int] = {}

    def add(self, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0) + 1

    def lines(self) -> list[str]:
        values = (f"{self._name}{{{_shown(self._labels, labels)}}} {value}" for labels, value in self._values.items())
        return [f"# TYPE {self._name} counter", *values]


class _Histogram:
    """Counts by upper limit, and the sum, for each combination of labels."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        self._name, self._labels, self._limits = _PREFIX + name, labels, limits
        self._cells: dict[Labels, list[float]] = {}

    def add(self, value: float, *labels: str) -> None:
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells.setdefault(labels, [0] * (len(self._limits) + 1) + [0.0])
        cell[bisect_left(self._limits, value)] += 1
        cell[-1] += value

    def lines(self) -> list[str]:
        lines = [f"# TYPE {self._name} histogram"]
        limits = [f"{limit:g}" for limit in self._limits] + ["+Inf"]
        for labels, cell in self._cells.items():
            shown = _shown(self._labels, labels)
            counts = list(accumulate(int(count) for count in cell[:-1]))
            lines += [f'{self._name}_bucket{{{shown},le="{limit}"}} {count}' for limit, count in zip(limits, counts, strict=True)]
            lines += [f"{self._name}_sum{{{shown}}} {cell[-1]:g}", f"{self._name}_count{{{shown}}} {counts[-1]}"]
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

    def render(self) -> bytes:
        """Prometheus's text format."""
        with self._lock:
            lines = [line for metric in (self._requests, self._latency, self._runtime) for line in metric.lines()]
        return ("\n".join(lines) + "\n").encode()
