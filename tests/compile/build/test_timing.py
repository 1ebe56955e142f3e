"""Times of one request."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from isthmus.compile.build import timing as timing_module
from isthmus.compile.build.timing import MAX_REQUESTS, WARM_UP_REQUESTS, time_edge

EXAMPLES = [{"x": np.full((1, 4), value, np.float32)} for value in (1.0, 2.0)]


class Simulated:
    """A runner and its clock: time passes only while it answers, for each of the durations (in ms) in turn."""

    def __init__(self, durations_ms: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_seconds, self.asked = 0.0, 0
        self._durations_ms = cycle(durations_ms)
        monkeypatch.setattr(timing_module.time, "perf_counter", lambda: self.now_seconds)

    def run(self, _: Any) -> dict[str, Any]:
        self.asked += 1
        self.now_seconds += next(self._durations_ms) / 1000
        return {}


def _timed(durations_ms: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Simulated]:
    runner = Simulated(durations_ms, monkeypatch)
    return time_edge(runner, EXAMPLES), runner  # type: ignore[arg-type]


def test_a_constant_time_has_no_variation(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, runner = _timed([2.0], monkeypatch)
    assert (timing.mean_ms, timing.p50_ms, timing.p95_ms, timing.scv) == (2, 2, 2, 0)
    assert timing.requests == MAX_REQUESTS
    assert runner.asked == MAX_REQUESTS + WARM_UP_REQUESTS


def test_the_squared_coefficient_of_variation_is_variance_over_squared_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, _ = _timed([1.0, 3.0], monkeypatch)
    assert timing.mean_ms == 2
    assert timing.scv == pytest.approx(0.25)
    exponential = -np.log(1 - (np.arange(MAX_REQUESTS) + 0.5) / MAX_REQUESTS)
    assert _timed(list(exponential), monkeypatch)[0].scv == pytest.approx(1, abs=0.05)


def test_a_slow_model_is_asked_for_a_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, _ = _timed([800.0], monkeypatch)
    assert timing.requests == 4
    assert _timed([10_000.0], monkeypatch)[0].requests == 1


def test_every_example_is_timed_in_turn_so_that_longer_ones_are_in_the_variance() -> None:
    class Noting:
        asked: list[float] = []  # noqa: RUF012

        def run(self, inputs: Any) -> dict[str, Any]:
            self.asked.append(float(inputs["x"][0, 0]))
            return {}

    time_edge(Noting(), EXAMPLES)  # type: ignore[arg-type]
    warm_up, timed = Noting.asked[:WARM_UP_REQUESTS], Noting.asked[WARM_UP_REQUESTS:]
    assert warm_up == [1.0, 2.0] * (WARM_UP_REQUESTS // 2)
    assert timed == [1.0, 2.0] * (MAX_REQUESTS // 2)
