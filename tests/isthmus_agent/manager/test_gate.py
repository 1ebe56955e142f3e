"""The socket by which programs on a device ask its group."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.isthmus_agent.yard import AtGate

from isthmus_agent.channel import GATE
from isthmus_agent.disk import sockets
from isthmus_agent.formats.carried import MOST_BODY_BYTES
from isthmus_agent.manager.gate import Asked, Gate, Said


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The folder of one that says what it was asked under `/echo/`. The folder lies deeper than a socket's path may be long."""
    folder = tmp_path / "/".join(["a-long-name-of-a-folder"] * 6)
    folder.mkdir(parents=True)
    found = Gate(folder)

    def echo(asked: Asked) -> Said:
        return Said(200, json.dumps([asked.method, asked.path, len(asked.body), asked.within_seconds]).encode())

    found.route("/echo/", echo)
    found.route("/full/", lambda _: Said(503, b"no", 2))
    found.start()
    yield folder
    found.close()


def said(folder: Path, content: bytes) -> bytes:
    """All that is said to some bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        with sockets.short(folder, GATE) as path:
            connection.connect(path)
        connection.settimeout(10)
        found = b""
        with suppress(OSError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                found += more
        return found


def test_only_its_owner_can_open_it(gate):
    assert stat.S_IMODE(os.stat(gate / GATE).st_mode) == 0o600


def test_requests_on_one_connection_are_answered_each_by_who_has_the_path(gate):
    connection = AtGate(gate)
    assert connection.ask("/echo/x/y", [[1]], within_ms=250) == (200, ["POST", "x/y", 20, 0.25])
    assert connection.ask("/echo/z", [[1]]) == (200, ["POST", "z", 20, 20.0])
    assert connection.ask("/other", [[1]])[0] == 404
    connection.request("GET", "/full/")
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("Retry-After"), reply.read()) == (503, "2", b"no")
    connection.close()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"nothing of the kind\r\n\r\n", b"400"),
        (b"GET /echo/ HTTP/0.9\r\n\r\n", b"400"),
        (b"POST /echo/ HTTP/1.1\r\nX-Isthmus-Deadline-Ms: soon\r\n\r\n", b"400"),
        (b"POST /echo/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1), b"413"),
        (b"POST /echo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"413"),
    ],
)
def test_what_is_no_request_is_answered_and_ends(gate, content, status):
    assert said(gate, content).split(b" ")[1] == status


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\r\n",
        b"POST",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /echo/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
def test_half_a_request_gets_no_answer_and_the_next_program_does(gate, content):
    assert b" 200 " not in said(gate, content)
    assert AtGate(gate).ask("/echo/x", [[1]])[0] == 200
