"""A device with a cloud role behind it: real servers under a real manager."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.isthmus_agent.clouds import PREDICTIONS, SLOW, WRONG, CloudRole, hangs, right, says
from tests.isthmus_agent.contents import (
    ROWS,
    Served,
    answered,
    close_to,
    eventually,
    fmod_content,
    start,
    tiny,
    tiny_content,
    unsure_content,
)
from toolchain.testing import patience

from isthmus.offload.measuring import calibration_of, measure
from isthmus.offload.plan import Costs, plan_offload
from isthmus_agent.channel import Fallback
from isthmus_agent.core.events import Crashed, Serving

pytestmark = pytest.mark.slow

SURE, UNSURE = [[3.0, 0.0, 0.0, 0.0]], [[0.1, 0.1, 0.0, 0.0]]
PREDICT = "/v1/models/digits:predict"
Begin = Callable[..., tuple[Served, CloudRole]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    ends: list[Callable[[], None]] = []

    def make(
        answer: Any = right,
        timeout_seconds: float = 20.0,
        deadline_seconds: float | None = None,
        min_confidence: float | None = 0.8,
        same_version: bool = False,
        **settings: Any,
    ) -> tuple[Served, CloudRole]:
        role = CloudRole(answer)
        fallback = Fallback(role.url, min_confidence, timeout_seconds, deadline_seconds=deadline_seconds, same_version=same_version)
        served = start(tmp_path / "slots", fallback=fallback, **settings)
        ends.extend((served.serving.close, role.stop))
        return served, role

    yield make
    for end in ends:
        end()


def ask(served: Served, rows: Any, connection: http.client.HTTPConnection | None = None, **headers: str) -> tuple[int, str | None, Any]:
    """Status, who answered, and document."""
    connection = connection or served.connect()
    connection.request("POST", PREDICT, json.dumps({"instances": rows}), {it.replace("_", "-"): value for it, value in headers.items()})
    reply = connection.getresponse()
    return reply.status, reply.getheader("X-Isthmus-Answered-By"), json.loads(reply.read())


def is_own(served: Served, rows: Any = UNSURE) -> bool:
    status, by, document = ask(served, rows)
    return (status, by) == (200, "device") and close_to(document["predictions"], answered(rows))


def test_the_cloud_is_asked_below_the_threshold_only_and_both_are_counted(begin):
    served, role = begin()
    digest = served.serve(tiny_content()).digest
    assert is_own(served, SURE)
    assert role.asked == []
    assert ask(served, UNSURE) == (200, "cloud", {"predictions": PREDICTIONS})
    assert role.bodies == [{"instances": UNSURE}]
    role.answer = says({"predictions": PREDICTIONS * 2})
    assert ask(served, SURE + UNSURE)[:2] == (200, "cloud")
    role.answer = says({"outputs": PREDICTIONS})
    connection = served.connect()
    connection.request("POST", PREDICT, json.dumps({"inputs": {"x": UNSURE}}))
    assert json.loads(connection.getresponse().read()) == {"outputs": PREDICTIONS}
    role.answer = says({}, 500)
    assert is_own(served)
    served.serving.measure(digest)
    found = served.told().measurement
    assert found.golden_probes_passed
    counts = served.serving.counts
    assert (counts.requests, counts.errors, counts.answered_by_cloud, counts.cloud_unavailable) == (5 + len(ROWS), 0, 3, 1)


def test_golden_probes_and_what_a_client_says_is_for_the_device_never_leave_it(begin):
    served, role = begin()
    digest = served.serve(tiny_content(weights=tiny.WEIGHTS * 0.1)).digest  # it is never sure
    served.serving.measure(digest)
    assert served.told().measurement.golden_probes_passed
    assert ask(served, UNSURE, X_Isthmus_Answer_By="device")[1] == "device"
    assert role.asked == []
    assert ask(served, ROWS[:1])[1] == "cloud"


def test_the_device_s_own_answer_stands_where_the_cloud_has_none(begin):
    served, role = begin(timeout_seconds=0.5)
    served.serve(tiny_content())
    pid = served.pid
    for name, answer in (WRONG | SLOW).items():
        role.answer, asked = answer, len(role.asked)
        assert is_own(served), name
        assert len(role.asked) == asked + 1, name
        role.answer = right
        assert ask(served, UNSURE)[1] == "cloud", name
    assert served.pid == pid


def test_a_cloud_that_is_away_costs_nobody_its_timeout_after_the_first_and_nobody_else_at_all(begin):
    served, role = begin(hangs, timeout_seconds=0.5)
    served.serve(tiny_content())
    took: list[float] = []

    def unsure() -> None:
        for _ in range(20):
            began = time.monotonic()
            assert is_own(served)
            took.append(time.monotonic() - began)

    asking = threading.Thread(target=unsure)
    asking.start()
    eventually(lambda: role.asked)
    others = 0
    while asking.is_alive():
        began = time.monotonic()
        assert is_own(served, SURE)
        others = max(others, time.monotonic() - began)
    asking.join()
    assert len(took) == 20
    assert len([it for it in took if it >= 0.5]) == 3
    assert others < patience.scaled(0.4)
    assert len(role.asked) == 3


def test_what_is_compared_is_calibrated_with_a_number_of_the_device_s_own(begin):
    served, role = begin()  # below 0.8
    served.serve(unsure_content(temperature=20.0, min_confidence=0.0))
    assert ask(served, SURE)[1] == "cloud"
    role.answer = says({}, 500)
    served.serve(unsure_content(temperature=0.05, min_confidence=1.0))
    asked = len(role.asked)
    assert is_own(served, [[0.5, 0.1, 0.0, 0.0]])
    assert len(role.asked) == asked


def test_a_device_that_goes_by_its_bundle_asks_below_what_that_says_and_of_a_bundle_that_says_nothing_never(begin):
    served, role = begin(min_confidence=None)
    served.serve(tiny_content())
    assert is_own(served, UNSURE)
    served.serve(unsure_content(temperature=1.0, min_confidence=0.6))
    assert is_own(served, SURE)
    assert role.asked == []
    assert ask(served, UNSURE)[1] == "cloud"


def test_a_device_passes_on_exactly_what_the_table_of_its_release_says(begin):
    generator = np.random.default_rng(3)
    rows = generator.normal(0, 1, (80, tiny.FEATURES)).round(3).astype(np.float32)
    edge = tiny.answer(rows.tolist()).astype(np.float32)
    labels = np.where(generator.random(80) < edge.max(axis=1), edge.argmax(axis=1), (edge.argmax(axis=1) + 1) % tiny.CLASSES)
    served_right = np.eye(tiny.CLASSES, dtype=np.float32)[labels]
    calibration = calibration_of(edge, labels)
    measured = measure(calibration, edge, served_right, labels, largest_difference=1.0, request_bytes=1, answer_bytes=1)
    plan = plan_offload(calibration, measured, Costs(1.0))
    row = plan.rows[plan.chosen]
    assert 0 < row.offloaded < 80
    served, role = begin(min_confidence=None)
    served.serve(unsure_content(calibration.temperature, plan.min_confidence, calibration.floor))
    connection = served.connect()
    by = [ask(served, [it], connection)[1] for it in rows.tolist()]
    assert by.count("cloud") == len(role.asked) == row.offloaded


def test_with_the_cloud_gone_a_request_is_answered_here_within_its_deadline(begin):
    served, _ = begin(hangs, timeout_seconds=20.0)
    served.serve(tiny_content())
    for deadline_ms in (50, 200):
        began = time.monotonic()
        assert ask(served, UNSURE, X_Isthmus_Deadline_Ms=str(deadline_ms))[:2] == (200, "device")
        took_ms = 1000 * (time.monotonic() - began)
        assert 0.9 * deadline_ms - 5 < took_ms < patience.scaled(deadline_ms + 2000)  # of 20,000 that the cloud is given


def only_version(version: int) -> Any:
    """A cloud role as TensorFlow Serving is that has one version."""

    def answer(connection: Any, request: Any) -> None:
        served = "/versions/" not in request.target or f"/versions/{version}:" in request.target
        (right if served else says({"error": "Servable not found for request"}, 404))(connection, request)

    return answer


def test_no_device_gets_an_answer_of_another_version_than_its_own_while_a_rollout_is_on_its_way(begin):
    served, role = begin(only_version(1), same_version=True)
    assert ask(served, UNSURE)[1] == "cloud"  # without a model any version will do
    served.serve(tiny_content(version=1))
    assert ask(served, UNSURE)[1] == "cloud"
    assert [it.target.rpartition("digits")[2] for it in role.asked] == [":predict", "/versions/1:predict"]
    role.answer = only_version(2)  # the cloud role is updated first
    assert is_own(served)
    asked = len(role.asked)
    assert is_own(served)
    assert len(role.asked) == asked  # nor is it asked in vain each time
    served.serve(tiny_content(version=2))  # a new process, which asks anew
    assert ask(served, UNSURE)[1] == "cloud"
    role.answer = only_version(1)  # taken back there, and not here yet
    assert is_own(served)


def test_a_request_that_says_no_deadline_has_the_device_s(begin):
    served, role = begin(hangs, timeout_seconds=20.0, deadline_seconds=0.1)
    served.serve(tiny_content())
    assert is_own(served)
    role.answer = right
    assert ask(served, UNSURE, X_Isthmus_Deadline_Ms="20000")[1] == "cloud"


@pytest.mark.parametrize("deadline", ["0", "-5", "1.5", "soon", "", "1e3", "600001", "9" * 400, "٣"])
def test_a_deadline_that_is_none_is_refused_in_one_sentence(begin, deadline):
    served, role = begin()
    for _ in range(2):  # with a model, and without one
        connection = served.connect()
        connection.putrequest("POST", PREDICT)
        connection.putheader("X-Isthmus-Deadline-Ms", deadline.encode())
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"{}")
        reply = connection.getresponse()
        document = json.loads(reply.read())
        assert (reply.status, list(document)) == (400, ["error"])
        assert document["error"].startswith("X-Isthmus-Deadline-Ms: found ")
        assert document["error"].endswith("expected a whole number from 1 to 600000")
        assert len(document["error"]) < 200
        connection.close()
        served.serve(tiny_content())
    assert role.asked == []


def test_before_there_is_a_model_the_cloud_answers_and_a_release_takes_over_without_a_request_lost(begin):
    served, role = begin()
    connection = served.connect()
    assert ask(served, UNSURE, connection) == (200, "cloud", {"predictions": PREDICTIONS})
    assert served.get("/healthz")[1]["state"] == "empty"
    assert served.get("/v1/models/digits")[0] == 404
    role.answer = says(b"<html>Welcome to Hotel WiFi</html>")
    assert ask(served, UNSURE) == (503, None, {"error": "no release is served on this device at the moment"})
    assert ask(served, UNSURE, X_Isthmus_Answer_By="device")[0] == 503
    asked = len(role.asked)
    for body in ("{", "[]", '{"rows": []}', ""):
        other = served.connect()
        other.request("POST", PREDICT, body)
        assert other.getresponse().status == 400
    assert len(role.asked) == asked
    assert isinstance(served.serve(tiny_content()), Serving)
    eventually(lambda: len(served.serving.pids) == 1)
    status, by, document = ask(served, SURE, connection)
    assert (status, by) == (200, "device")
    assert close_to(document["predictions"], answered(SURE))
    role.answer = right
    served.serving.serve(None)
    assert eventually(lambda: (found := ask(served, SURE))[1] == "cloud" and found[0] == 200)


@pytest.mark.parametrize("stop_first", [False, True])
def test_while_a_model_waits_to_be_started_again_the_cloud_answers(begin, stop_first):
    served, _ = begin(first_backoff_seconds=patience.scaled(3), stop_first=stop_first)
    digest = served.serve(tiny_content()).digest
    for _ in range(2):
        os.kill(served.pid, signal.SIGKILL)
        assert isinstance(served.told(), Crashed)
        served.serving.serve(digest)
        eventually(lambda: ask(served, SURE)[0] == 200)
        if _ == 0:
            assert isinstance(served.told(), Serving)
            eventually(lambda: len(served.serving.pids) == 1)
    assert ask(served, SURE)[:2] == (200, "cloud")
    assert isinstance(served.told(), Serving)
    assert is_own(served, SURE)


def test_a_crash_while_the_cloud_is_asked_costs_that_request_alone(begin):
    served, role = begin(hangs)
    served.serve(tiny_content())
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(ask(served, UNSURE)))
    asking.start()
    eventually(lambda: role.asked)
    os.kill(served.pid, signal.SIGKILL)
    event = served.told()
    assert (type(event), event.text) == (Crashed, "the server was ended by SIGKILL between requests")
    asking.join()
    assert answers == [(503, None, {"error": "the server ended before this request was complete"})]


def test_what_is_asked_meanwhile_on_one_connection_is_answered_in_order(begin):
    served, role = begin()
    served.serve(tiny_content())
    connection = served.connect()
    connection.connect()
    requests = b""
    for rows in (UNSURE, SURE, UNSURE):
        body = json.dumps({"instances": rows}).encode()
        requests += b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (PREDICT.encode(), len(body)) + body
    connection.sock.sendall(requests)
    found = b""
    while found.count(b"predictions") < 3:
        found += connection.sock.recv(65536)
    assert [line for line in found.decode().split("\r\n") if "Answered" in line] == [
        f"X-Isthmus-Answered-By: {by}" for by in ("cloud", "device", "cloud")
    ]
    assert len(role.asked) == 2


def test_a_request_that_is_wrong_is_not_passed_on(begin):
    served, role = begin()
    served.serve(tiny_content())
    assert ask(served, [[1.0]])[0] == 400
    served.serve(fmod_content())
    assert ask(served, [[7, 4]])[0] == 200
    assert role.asked == []
