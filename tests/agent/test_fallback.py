"""A device with a cloud role behind it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.testing import patience

from isthmus.agent.fallback import confidence

pytestmark = pytest.mark.slow

SURE, UNSURE = [[3.0, 0.0, 0.0, 0.0]], [[0.1, 0.1, 0.0, 0.0]]
CLOUD_ANSWER = {"predictions": [[0.0, 0.0, 1.0]]}
TIMEOUT_MS = 1500
Make = Callable[..., Any]


class CloudRole:
    """What the cloud does: `status` and `delay_seconds` can be set; `bodies` has what it was asked."""

    def __init__(self) -> None:
        self.status, self.delay_seconds = 200, 0.0
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.stopped = threading.Event()
        role = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                role.paths.append(self.path)
                role.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                role.stopped.wait(role.delay_seconds)
                body = json.dumps(CLOUD_ANSWER).encode()
                self.send_response(role.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def cloud() -> Iterator[CloudRole]:
    role = CloudRole()
    yield role
    role.stop()


@pytest.fixture
def agent(cameras: Any, make_agent: Make, make_release: Make, cloud: CloudRole) -> Any:
    agent = make_agent(fallback={"url": cloud.url, "min_confidence": 0.8, "timeout_ms": TIMEOUT_MS}).start()
    empty = agent.predict(SURE)
    assert (empty.headers["X-Isthmus-Answered-By"], empty.json()) == ("cloud", CLOUD_ANSWER)  # before it has a model of its own
    cloud.bodies.clear()
    cameras.settled(cameras.roll_out(make_release()))
    return agent


def own(tiny_model: ModuleType, rows: list[list[float]]) -> Any:
    return pytest.approx(tiny_model.answer(rows)[0], abs=1e-4)


def test_the_cloud_is_asked_below_the_threshold_only(
    agent: Any, cloud: CloudRole, cameras: Any, tiny_model: ModuleType, eventually: Make
) -> None:
    sure = agent.predict(SURE)
    assert sure.headers["X-Isthmus-Answered-By"] == "device"
    assert sure.json()["predictions"][0] == own(tiny_model, SURE)
    assert cloud.bodies == []
    unsure = agent.predict(UNSURE)
    assert (unsure.headers["X-Isthmus-Answered-By"], unsure.json()) == ("cloud", CLOUD_ANSWER)
    assert cloud.bodies == [{"instances": UNSURE}]
    assert set(cloud.paths) == {"/v1/models/digits:predict"}
    assert agent.predict(SURE + UNSURE).headers["X-Isthmus-Answered-By"] == "cloud"
    report = eventually(lambda: (r := cameras.report()) and r.requests == 4 and r)
    assert (report.answered_by_device, report.answered_by_cloud, report.cloud_unavailable) == (1, 3, 0)


def test_the_device_s_own_answer_stands_when_the_cloud_is_slow_wrong_or_away(
    agent: Any, cloud: CloudRole, cameras: Any, tiny_model: ModuleType, eventually: Make
) -> None:
    def is_own() -> None:
        reply = agent.predict(UNSURE)
        assert (reply.status_code, reply.headers["X-Isthmus-Answered-By"]) == (200, "device")
        assert reply.json()["predictions"][0] == own(tiny_model, UNSURE)

    cloud.delay_seconds = 60.0
    began = time.monotonic()
    is_own()
    assert TIMEOUT_MS / 1000 <= time.monotonic() - began < patience.scaled(30)
    cloud.delay_seconds = 0.0
    assert agent.predict(UNSURE).headers["X-Isthmus-Answered-By"] == "cloud"
    cloud.status = 500
    is_own()
    cloud.stop()
    is_own()
    report = eventually(lambda: (r := cameras.report()) and r.requests == 5 and r)
    assert (report.answered_by_device, report.answered_by_cloud, report.cloud_unavailable) == (3, 2, 3)


def test_a_wrong_request_is_not_passed_on(agent: Any, cloud: CloudRole) -> None:
    assert agent.predict([[1.0]]).status_code == 400
    assert cloud.bodies == []


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_confidence_of_probabilities_is_that_of_the_least_certain_row(rows: list[list[float]]) -> None:
    table = np.array(rows)
    table /= table.sum(axis=1, keepdims=True)
    assert confidence({"y": table.astype(np.float32)}) == pytest.approx(min(max(row) for row in table.tolist()), rel=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.array([[1.0, -0.5, 0.5]])},
        {"y": np.array([[3.0, 2.0, 1.0]])},
        {"y": np.array([[0.2, 0.2, 0.2]])},
        {"y": np.array([[np.nan, 0.5, 0.5]])},
        {"y": np.array([[1.0]])},
        {"y": np.array([0.5, 0.5])},
        {"y": np.array([[1, 0]])},
        {"y": np.zeros((0, 3))},
        {"y": np.array([[0.5, 0.5]]), "z": np.array([[0.5, 0.5]])},
        {"y": np.array([[b"a", b"b"]], dtype=object)},
    ],
)
def test_what_does_not_look_like_probabilities_has_no_confidence(outputs: dict[str, np.ndarray]) -> None:
    assert confidence(outputs) is None
