"""Prometheus metrics under TensorFlow Serving's names."""

from functools import cache

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS_US = [10 * 1.8**i for i in range(33)]


class _Count(Gauge):
    """A counter whose name has no `_total`, which prometheus_client's own would add."""

    _type = "unknown"


class Metrics:
    """What the server counts and times. Only models that exist appear as labels, so that no client can grow the table."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Count(
            ":tensorflow:serving:request_count", "The total number of requests.", ["model_name", "status"], registry=self._registry
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) of a request.",
            ["model_name", "API", "entrypoint"],
            buckets=_LATENCY_BUCKETS_US,
            registry=self._registry,
        )
        self._runtime = Histogram(
            ":tensorflow:serving:runtime_latency",
            "Distribution of wall time (in microseconds) of the model's run.",
            ["model_name", "API", "runtime"],
            buckets=_LATENCY_BUCKETS_US,
            registry=self._registry,
        )

        # Finding a metric by its labels takes longer than counting, and the labels are few.
        self._count = cache(self._requests.labels)
        self._time = cache(lambda model, entrypoint: self._latency.labels(model, "Predict", entrypoint))
        self._time_run = cache(lambda model: self._runtime.labels(model, "Predict", "TF1"))

    def predicted(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """One predict call. entrypoint: REST or GRPC. status: a gRPC code's name, OK for success."""
        self._count(model, status).inc()
        self._time(model, entrypoint).observe(seconds * 1e6)

    def ran(self, model: str, seconds: float) -> None:
        """One run of a model."""
        self._time_run(model).observe(seconds * 1e6)

    def render(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)
