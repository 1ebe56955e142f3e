"""A network in two halves: a real server process on the device under a real manager, and the project's own server with the tails."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import halved
from tests.isthmus_agent.contents import Served, content_of, eventually, start
from tests.server.conftest import ServerProcess, server_process, wait_for

from isthmus.parting import signed_halves
from isthmus.partition.wanted import Wanted
from isthmus.release.manifest import EDGE, Release
from isthmus_agent.channel import Fallback
from isthmus_agent.core.events import ServeFailed, Serving
from isthmus_agent.formats import bundle

pytestmark = pytest.mark.slow

ROWS, POWERS = halved.inputs(), 2400


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Behind its second layer a device takes long, and a server does not."""
    folder = tmp_path_factory.mktemp("releases")
    (folder / "whole").mkdir()
    wanted, whole = Wanted(2, (1.0,), round_trip_ms=1.0, max_loss=1.0), halved.whole_release(folder / "whole", powers=POWERS)
    return halved.split_release(whole, folder / "split", wanted, whole_ms=500.0, only=(2,))


@pytest.fixture(scope="module")
def cloud(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("cloud")
    flags = (f"--model_name={halved.MODEL}", f"--model_base_path={release.directory / 'serving'}")
    with server_process(folder, *flags) as server:
        server.wait_until_open()
        wait_for(lambda: server.states(halved.MODEL).get("1") == "AVAILABLE", "the model is loaded")
        yield server


class Link:
    """Between a device and a server: what is sent passes so many bytes a second, or not at all. Keeps what was sent."""

    def __init__(self, port: int) -> None:
        self.bytes_per_second, self.sent, self._port = 1e9, bytearray(), port
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, is_up: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1024):
                while self.is_cut:
                    time.sleep(0.01)
                if is_up:
                    self.sent += data
                    time.sleep(len(data) / self.bytes_per_second)
                other.sendall(data)
        for it in (one, other):
            with suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)


def bundle_of(release: Release, document: str | None) -> bytes:
    golden = json.loads(release.path(release.manifest.golden).read_bytes())
    model = release.path(release.manifest.variant(EDGE).files[0]).read_bytes()
    return content_of(model, release.manifest.to_bytes(), golden, {} if document is None else {bundle.HALVES: document})


Begin = Callable[..., tuple[Served, Link]]


@pytest.fixture
def begin(tmp_path: Path, cloud: ServerProcess) -> Iterator[Begin]:
    ends: list[Callable[[], None]] = []

    def make(timeout_seconds: float = 20.0, *, asks: bool = True, sends_features: bool = True) -> tuple[Served, Link]:
        link = Link(cloud.rest_port)
        fallback = Fallback(link.url, 0.0, timeout_seconds, same_version=True, sends_features=sends_features)
        served = start(tmp_path / "slots", fallback=fallback if asks else None)
        ends.extend((served.serving.close, link.close))
        return served, link

    yield make
    for end in ends:
        end()


def ask(served: Served, row: np.ndarray, connection: Any, form: str = "instances", **headers: str) -> tuple[Any, str]:
    """The answer, and who gave it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", f"/v1/models/{halved.MODEL}:predict", json.dumps({form: [row.tolist()]}), named)
    reply = connection.getresponse()
    document = json.loads(reply.read())
    assert reply.status == 200, document
    return document["predictions" if form == "instances" else "outputs"], str(reply.getheader("X-Isthmus-Answered-By"))


def is_right(found: Any, row: np.ndarray) -> bool:
    return bool(np.abs(np.asarray(found) - halved.answers(row[None])).max() < 0.01)


def answered_right(served: Served, row: np.ndarray, connection: Any, form: str = "instances") -> str:
    """Who gave the answer, which is right whoever it was."""
    found, by = ask(served, row, connection, form)
    assert is_right(found, row)
    return by


def text_of(release: Release) -> str:
    document = signed_halves(release)
    assert document is not None
    return document


def test_a_slow_device_sends_what_its_first_layers_make_and_answers_as_the_whole_does(begin: Begin, release: Release) -> None:
    served, link = begin()
    assert isinstance(served.serve(bundle_of(release, text_of(release))), Serving)
    connection = served.connect()
    assert ask(served, ROWS[0], connection)[1] == "device"  # nothing is known of the network
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "cloud")
    for row in ROWS[:3]:
        for form in ("instances", "inputs"):
            assert eventually(lambda row=row, form=form: answered_right(served, row, connection, form) == "cloud")
    assert b"Content-Encoding: gzip" in link.sent
    assert b"/versions/1:predict" in link.sent


def test_what_is_slower_than_the_device_is_left_and_taken_up_again(begin: Begin, release: Release) -> None:
    served, link = begin()
    served.serve(bundle_of(release, text_of(release)))
    connection = served.connect()
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "cloud")
    link.bytes_per_second = 10_000.0
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "device")
    link.bytes_per_second = 1e9
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "cloud")


def test_while_the_cloud_is_away_the_device_answers_within_the_deadline(begin: Begin, release: Release) -> None:
    served, link = begin(timeout_seconds=1.0)
    served.serve(bundle_of(release, text_of(release)))
    connection = served.connect()
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "cloud")
    link.is_cut = True
    found = [ask(served, row, connection) for row in ROWS]
    assert [(is_right(it, row), by) for (it, by), row in zip(found, ROWS, strict=True)] == [(True, "device")] * len(ROWS)


@pytest.mark.parametrize("how", [{"asks": False}, {"sends_features": False}])
def test_a_device_that_was_not_told_to_sends_nothing(begin: Begin, release: Release, how: Any) -> None:
    served, link = begin(**how)
    served.serve(bundle_of(release, text_of(release)))
    connection = served.connect()
    assert {ask(served, row, connection)[1] for row in ROWS} <= {"device", "None"}
    assert link.sent == b""


def test_a_request_that_is_for_here_and_one_of_several_examples_stay_here(begin: Begin, release: Release) -> None:
    served, link = begin()
    served.serve(bundle_of(release, text_of(release)))
    connection = served.connect()
    assert eventually(lambda: ask(served, ROWS[0], connection)[1] == "cloud")
    asked = link.sent.count(b"POST")
    assert ask(served, ROWS[0], connection, X_Isthmus_Answer_By="device")[1] == "device"
    status, document = served.predict([row.tolist() for row in ROWS[:2]], connection)
    assert (status, len(document["predictions"])) == (200, 2)
    assert link.sent.count(b"POST") == asked


@pytest.mark.parametrize(("found", "other"), [('"name":"feature_0"', '"name":"feature_9"'), ("[1,4096]", "[1,4095]")])
def test_a_way_that_is_not_what_its_head_makes_costs_no_answer(begin: Begin, release: Release, found: str, other: str) -> None:
    served, link = begin()
    served.serve(bundle_of(release, text_of(release).replace(found, other)))
    connection = served.connect()
    assert {answered_right(served, row, connection) for row in ROWS} == {"device"}
    assert b"POST" not in link.sent


def test_halves_of_another_release_or_without_their_head_are_not_served(begin: Begin, release: Release) -> None:
    served, _ = begin()
    document = text_of(release)
    for other in (document.replace(release.digest, "sha256:" + "0" * 64), document.replace("head_2", "head_9")):
        assert isinstance(served.serve(bundle_of(release, other)), ServeFailed)
