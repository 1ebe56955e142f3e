"""Real servers under a real manager: they start, swap, fall over, hang and end, and nobody's socket is closed for it."""

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.isthmus_agent.contents import (
    DIVIDES,
    LOOPS,
    ROWS,
    Served,
    answered,
    close_to,
    eventually,
    fmod_content,
    loop_content,
    start,
    tiny,
    tiny_content,
)
from toolchain.testing import patience

from isthmus_agent.core.events import Crashed, Measured, ServeFailed, Serving
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager import serving as serving_room
from isthmus_agent.manager.listening import listen_tcp, listen_unix
from isthmus_agent.manager.probe import Question, difference, passed

pytestmark = pytest.mark.slow


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts to listen; ended with the test."""
    begun: list[Served] = []

    def make(**settings: object) -> Served:
        begun.append(start(tmp_path / "slots", **settings))
        return begun[-1]

    yield make
    for served in begun:
        served.serving.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resident_bytes(pid: int, what: str = "VmRSS") -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(what)]
    return int(line.split()[1]) << 10


class Asking:
    """Clients that ask one request after the other, each over a connection that it keeps; or, open, requests that begin by the clock,
    whatever became of those before, each over a connection of its own. found: all that was not the right answer."""

    CLIENTS, PER_SECOND, MOST_AT_ONCE = 3, 50, 32

    def __init__(self, served: Served, *, is_open: bool = False) -> None:
        self._served, self._stop = served, threading.Event()
        self.found: list[object] = []
        self.answers = 0
        asking = [self._arrive] if is_open else [self._keep_asking] * self.CLIENTS
        self._threads = [threading.Thread(target=it) for it in asking]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Waits for so many more answers."""
        wanted = self.answers + count
        eventually(lambda: self.answers >= wanted or self.found)

    def _keep_asking(self) -> None:
        connection = self._served.connect()
        connection.connect()
        connection.auto_open = 0  # a connection that is closed is a request that is lost
        while not self._stop.is_set() and self._ask(connection):
            time.sleep(0.002)

    def _arrive(self) -> None:
        begun = time.monotonic()
        with ThreadPoolExecutor(self.MOST_AT_ONCE) as clients:
            for number in itertools.count():
                if self._stop.wait(max(0.0, begun + number / self.PER_SECOND - time.monotonic())):
                    return
                clients.submit(self._ask)

    def _ask(self, connection: http.client.HTTPConnection | None = None) -> bool:
        try:
            status, document = self._served.predict(ROWS, connection)
            if status != 200 or not close_to(document["predictions"], answered(ROWS)):
                self.found.append((status, document))
        except (OSError, http.client.HTTPException) as error:
            self.found.append(error)
            return False
        self.answers += 1
        return True


def test_a_content_is_served_once_it_has_tested_itself(begin):
    served = begin()
    assert served.get("/healthz") == (200, {"device": "camera-1", "fleet": "cameras", "state": "empty", "digest": None, "version": None})
    assert served.predict(ROWS)[0] == 503
    assert served.get("/v1/models/digits") == (404, {"error": "Could not find any versions of model digits"})
    content = tiny_content()
    event = served.serve(content)
    assert event == Serving(served.keep(content))
    status, document = served.predict(ROWS)
    assert status == 200
    assert close_to(document["predictions"], answered(ROWS))
    health = served.get("/healthz")[1]
    assert (health["state"], health["version"], health["content"]) == ("serving", 1, event.digest)
    pid = served.pid
    served.serving.serve(event.digest)
    assert served.told() == event
    assert served.pid == pid
    served.serving.serve(None)
    eventually(lambda: not is_alive(pid))
    assert served.predict(ROWS)[0] == 503


def damaged(served: Served) -> str:
    digest = served.keep(tiny_content(version=7))
    (served.folder / digest[7:]).write_bytes(tiny_content(version=8))
    return digest


UNFIT = {
    "another answer": (Reason.SELF_TEST_FAILED, lambda it: it.keep(tiny_content(golden_weights=tiny.WEIGHTS * 2)), {}),
    "no model": (Reason.BUNDLE_INVALID, lambda it: it.keep(tiny_content(model=b"TFL3")), {}),
    "no bundle": (Reason.BUNDLE_INVALID, lambda it: it.keep(b"x" * 100), {}),
    "another content": (Reason.DAMAGED_SLOT, damaged, {}),
    "no file": (Reason.DAMAGED_SLOT, lambda it: "sha256:" + "0" * 64, {}),
    "no time": (Reason.SELF_TEST_HUNG, lambda it: it.keep(tiny_content(9)), {"self_test_seconds": 0.001}),
}


@pytest.mark.parametrize(("reason", "make", "settings"), UNFIT.values(), ids=UNFIT.keys())
def test_a_content_that_does_not_pass_is_not_served_and_the_one_before_is(begin, monkeypatch, reason, make, settings):
    served = begin()
    served.serve(tiny_content())
    if settings:
        limits = serving_room.Limits(**settings)
        monkeypatch.setattr(served.serving, "_settings", serving_room.Settings(limits=limits))
    digest = make(served)
    served.serving.serve(digest)
    event = served.told()
    assert isinstance(event, ServeFailed)
    assert (event.digest, event.reason) == (digest, reason), event
    assert served.predict(ROWS)[0] == 200


def test_a_model_that_falls_over_in_its_self_test_is_unfit(begin):
    content = fmod_content().replace(b"[[7, 4]]", b"[[7, 0]]")  # a division by 0
    served = begin()
    event = served.serve(content)
    assert isinstance(event, ServeFailed)
    assert event.reason in (Reason.SELF_TEST_CRASHED, Reason.SELF_TEST_FAILED)


@pytest.mark.parametrize("stop_first", [False, True])
@pytest.mark.parametrize("is_open", [False, True], ids=["kept connections", "open load"])
def test_a_swap_under_load_loses_nothing(begin, stop_first, is_open):
    served = begin(stop_first=stop_first)
    served.serve(tiny_content(1))
    with Asking(served, is_open=is_open) as asking:
        for version in range(2, 5):
            asking.more(20)
            before = served.pid
            assert isinstance(served.serve(tiny_content(version)), Serving)
            eventually(lambda: not is_alive(before))  # noqa: B023 - it is called at once
            asking.more(20)
            assert served.get("/healthz")[1]["version"] == version
    assert asking.found == []


def test_a_request_that_crashes_the_interpreter_costs_that_request_alone(begin):
    served = begin()
    digest = served.serve(fmod_content()).digest
    resting = served.connect()
    assert served.predict([[9, 4]], resting) == (200, {"predictions": [[1]]})
    status, document = served.predict(DIVIDES)
    assert (status, document["error"]) == (500, "the server was ended by SIGFPE on a request")
    event = served.told()
    assert event == Crashed(digest, Reason.CRASHED, "the server was ended by SIGFPE on a request")
    waiting = served.connect()
    for connection in (waiting, resting):  # both are asked while nothing serves
        connection.auto_open = connection is waiting
        connection.request("POST", "/v1/models/digits:predict", json.dumps({"instances": [[9, 4]]}))
    served.serving.serve(digest)
    assert served.told() == Serving(digest)
    assert [json.loads(it.getresponse().read()) for it in (waiting, resting)] == [{"predictions": [[1]]}] * 2


def test_a_request_that_never_ends_costs_that_request_and_what_was_half_here(begin):
    served = begin(request_seconds=patience.scaled(1))
    digest = served.serve(loop_content()).digest
    half = socket.create_connection(("127.0.0.1", served.port))
    half.sendall(b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert served.predict([[1.0, 2.0, 3.0, 1.0]])[0] == 200  # so that the half one was read by now
    status, document = served.predict(LOOPS)
    assert (status, document["error"].startswith("no answer to a request within")) == (504, True)
    assert half.recv(100).startswith(b"HTTP/1.1 503 ")
    half.close()
    event = served.told()
    assert isinstance(event, Crashed)
    assert event.reason is Reason.HUNG
    served.serving.serve(digest)
    assert isinstance(served.told(), Serving)
    assert served.predict([[1.0, 2.0, 3.0, 1.0]])[0] == 200


def test_a_fault_in_memory_is_a_crash(begin):
    served = begin()
    served.serve(loop_content())
    answers: list[tuple[int, object]] = []
    asking = threading.Thread(target=lambda: answers.append(served.predict(LOOPS)))
    asking.start()
    pid = served.pid
    ticks = os.sysconf("SC_CLK_TCK")
    busy = lambda: sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / ticks  # noqa: E731
    before = busy()
    eventually(lambda: busy() > before + 0.2)
    os.kill(pid, signal.SIGSEGV)
    event = served.told()
    asking.join()
    assert event == Crashed(event.digest, Reason.CRASHED, "the server was ended by SIGSEGV on a request")
    assert answers == [(500, {"error": event.text})]


def test_a_server_that_falls_over_again_starts_later_each_time(begin):
    served = begin(first_backoff_seconds=0.4)
    digest = served.serve(tiny_content()).digest
    took = []
    for _ in range(3):
        os.kill(served.pid, signal.SIGKILL)
        assert isinstance(served.told(), Crashed)
        began = time.monotonic()
        served.serving.serve(digest)
        eventually(lambda: served.serving.pids)
        took.append(time.monotonic() - began)
        assert isinstance(served.told(), Serving)
    assert took[1] >= 0.35
    assert took[2] >= 0.75


def test_where_no_server_comes_it_is_said(begin):
    served = begin(wait_seconds=0.5)
    served.serve(tiny_content())
    kept = served.connect()
    assert served.predict(ROWS, kept)[0] == 200
    assert served.predict(ROWS)[0] == 200  # when it answers this one, it has noted that the kept one rests
    os.kill(served.pid, signal.SIGKILL)
    assert isinstance(served.told(), Crashed)
    assert served.predict(ROWS)[0] == 503
    assert served.predict(ROWS, kept)[0] == 503


def test_golden_probes_go_through_the_socket_and_are_measured(begin, tmp_path):
    served = begin(stop_first=True)
    digest = served.serve(tiny_content()).digest
    served.serving.measure(digest)
    event = served.told()
    assert isinstance(event, Measured)
    found = event.measurement
    assert found.golden_probes_passed
    assert 0 < found.p95_microseconds < 10_000_000
    assert 10 << 20 < found.rss_bytes < 500 << 20
    assert served.serving.counts.requests == len(ROWS)
    served.predict([[1.0]])
    served.serving.measure(digest)
    served.told()
    assert (served.serving.counts.requests, served.serving.counts.errors) == (2 * len(ROWS) + 1, 1)
    other = tmp_path / "other"
    other.write_bytes(tiny_content(golden_weights=tiny.WEIGHTS * 2))
    assert not passed(Question(os.getpid(), str(other), ("127.0.0.1", served.port), 30.0))
    assert not passed(Question(os.getpid(), str(tmp_path / "none"), ("127.0.0.1", served.port), 30.0))


def test_what_is_served_is_counted_also_when_nobody_measures(begin):
    served = begin(count_seconds=0.1)
    served.serve(tiny_content())
    for rows in (ROWS, ROWS, [[1.0]]):
        served.predict(rows)
    eventually(lambda: (served.serving.counts.requests, served.serving.counts.errors) == (3, 1))
    served.serve(tiny_content(2))
    eventually(lambda: served.serving.counts.requests == 0)


def moved(served: Served, content: bytes, against: bytes) -> int | None:
    """How far the predictions of a content are measured to be from those of the version before."""
    event = served.serve(content, against)
    assert isinstance(event, Serving), event
    served.serving.measure(event.digest)
    measured = served.told()
    assert isinstance(measured, Measured)
    return measured.measurement.distribution_distance_millionths


@pytest.mark.parametrize("stop_first", [False, True])
def test_predictions_are_compared_with_those_of_the_version_before_on_the_golden_inputs(begin, stop_first):
    served, weights = begin(stop_first=stop_first), np.roll(tiny.WEIGHTS, 1, axis=0)
    first, second = tiny_content(), tiny_content(2, weights)
    served.serve(first)
    wanted = np.abs(answered(ROWS).mean(axis=0) - tiny.answer(ROWS, weights).mean(axis=0)).sum() / 2
    assert moved(served, second, first) == pytest.approx(1e6 * wanted, abs=50)
    assert wanted > 0.1
    assert moved(served, tiny_content(3, weights), second) == 0
    assert moved(served, tiny_content(4), fmod_content()) == 1_000_000  # it does not take such inputs
    assert moved(served, tiny_content(5), b"no bundle") is None


def test_a_version_before_that_hangs_or_falls_over_says_nothing_against_the_new_one(begin):
    served = begin(self_test_seconds=patience.scaled(2))
    assert moved(served, tiny_content(rows=[[1e30, 0.0, 0.0, 0.0]]), loop_content()) is None


@pytest.mark.parametrize(
    ("found", "wanted", "apart"),
    [
        ([[1.0, 2]], [[1, 2.5]], 0.5),
        ([1.0], [1.0, 2.0], float("inf")),
        ({"a": 1}, {"b": 1}, float("inf")),
        ({"a": [1]}, {"a": [3]}, 2.0),
        (float("nan"), float("nan"), 0.0),
        (1.0, float("nan"), float("inf")),
        (float("inf"), float("inf"), 0.0),
        ("a", "a", 0.0),
        (True, 1, float("inf")),
        (None, 1, float("inf")),
    ],
)
def test_answers_are_compared_without_numpy(found, wanted, apart):
    assert difference(found, wanted) == apart


def test_a_unix_socket_serves_as_well(tmp_path):
    path = tmp_path / "socket"
    listen_unix(path).close()  # what an earlier process left
    served = start(tmp_path / "slots", listen_unix(path))
    try:
        digest = served.serve(tiny_content()).digest
        served.serving.measure(digest)
        assert served.told().measurement.golden_probes_passed
    finally:
        served.serving.close()


def test_large_requests_leave_memory_bounded(begin):
    served = begin(most_body_bytes=8 << 20, request_seconds=120)
    served.serve(tiny_content())
    served.predict(ROWS)
    before = resident_bytes(served.pid)
    rows = json.dumps(ROWS * (7 * (1 << 20) // len(json.dumps(ROWS))))
    body = f'{{"instances": [{rows[1:-1]}]}}'
    for _ in range(2):
        connection = served.connect()
        connection.request("POST", "/v1/models/digits:predict", body)
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        assert (reply.status, len(answer["predictions"])) == (200, len(ROWS) * (7 * (1 << 20) // len(json.dumps(ROWS))))
        assert close_to(answer["predictions"][-3:], answered(ROWS))
        connection.close()
    connection = served.connect()
    connection.request("POST", "/v1/models/digits:predict", b"x" * (57 << 20))
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())) == (413, {"error": "the request is larger than 8388608 bytes"})
    assert served.predict(ROWS)[0] == 200
    assert resident_bytes(served.pid) - before < 32 << 20
    assert resident_bytes(served.pid, "VmHWM") - before < 400 << 20


def test_a_request_that_needs_more_memory_than_there_is_gets_no_answer_and_others_do(begin):
    served = begin(most_body_bytes=32 << 20, memory_bytes=160 << 20, request_seconds=120)
    event = served.serve(tiny_content())
    assert isinstance(event, Serving), event
    body = '{"instances": [' + ",".join(["[1.5,2.5,3.5,4.5]"] * 1_500_000) + "]}"
    connection = served.connect()
    connection.request("POST", "/v1/models/digits:predict", body)
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())) == (503, {"error": "there is not enough memory for this request"})
    assert served.predict(ROWS)[0] == 200


def test_clients_that_say_nothing_keep_nobody_out(begin):
    served = begin(most_connections=4)
    served.serve(tiny_content())
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(12)]
    assert served.predict(ROWS)[0] == 200
    for it in silent:
        it.close()


def test_what_has_begun_is_finished_when_all_ends(tmp_path):
    served = start(tmp_path / "slots")
    served.serve(tiny_content())
    half = socket.create_connection(("127.0.0.1", served.port))
    body = json.dumps({"instances": ROWS}).encode()
    half.sendall(b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
    assert served.predict(ROWS)[0] == 200  # so that the half one was read by now
    pid = served.pid
    ending = threading.Thread(target=served.serving.close)
    ending.start()
    eventually(lambda: _refuses(served.port) or not ending.is_alive() or time.sleep(0.1) is None)
    assert is_alive(pid)
    half.sendall(body[10:])
    assert half.recv(100).startswith(b"HTTP/1.1 200 ")
    ending.join()
    assert not is_alive(pid)
    half.close()


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


MANAGER = """
import sys
from pathlib import Path
from isthmus_agent.manager.listening import listen_tcp
from isthmus_agent.manager.serving import Serving, Settings
file = Path(sys.argv[1])
serving = Serving([listen_tcp("127.0.0.1", 0)], Settings(), lambda event: print(*serving.pids, event, flush=True), lambda digest: file)
serving.start()
serving.serve("sha256:" + file.name)
sys.stdin.read()
"""


def test_a_server_ends_with_its_manager_however_that_ends(tmp_path):
    served = start(tmp_path / "slots")
    file = served.folder / served.keep(tiny_content())[7:]
    served.serving.close()
    manager = subprocess.Popen([sys.executable, "-c", MANAGER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = manager.stdout.readline()
    assert "Serving" in said
    pid = int(said.split()[0])
    assert is_alive(pid)
    os.kill(pid, signal.SIGSTOP)  # so that it cannot see for itself
    manager.kill()
    manager.wait()
    eventually(lambda: not is_alive(pid))


def test_a_taken_port_is_an_error_of_its_own():
    first = listen_tcp("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        listen_tcp(*first.getsockname()[:2])
    first.close()


SAYS = """
import json, socket, sys
said = socket.socket(fileno=json.loads(sys.argv[1])["control"])
said.send({said!r})
sys.stdin = said  # open to the end
raise ImportError
"""


@pytest.mark.parametrize(
    "said", [b"x", b"[]", b"{}", b'{"what": "held", "slot": 1}', b'{"what": "dropped", "slot": 1000}', b'{"what": "dropped"}']
)
def test_a_server_that_says_what_cannot_be_read_is_ended(begin, monkeypatch, tmp_path, said):
    (tmp_path / "ai_edge_litert.py").write_text(SAYS.replace("{said!r}", repr(said)))
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
        served = begin()
        event = served.serve(tiny_content())
    assert (event.reason, event.text) == (Reason.SERVER_FAULT, "the server says what cannot be read")
    assert isinstance(served.serve(tiny_content(2)), Serving)


def test_an_unready_server_of_a_missing_interpreter_is_the_devices_fault(begin, monkeypatch, tmp_path):
    (tmp_path / "ai_edge_litert.py").write_text("raise ImportError('no wheel for this device')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    event = begin().serve(tiny_content())
    assert (event.reason, event.text) == (Reason.NO_INTERPRETER, "the interpreter cannot be loaded: no wheel for this device")
