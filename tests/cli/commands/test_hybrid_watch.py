"""`isthmus hybrid watch`: in the terminal, as data, as a page; and what it says where there is nothing to watch."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from click.testing import Result
from rich.console import Console
from tests.running import AWAY, reading, said
from typer.testing import CliRunner

from isthmus.cli.commands.hybrid import watching
from isthmus.cli.commands.hybrid.view import rendered
from isthmus.cli.main import app
from isthmus.cli.shared.serving import PageServer
from isthmus.errors import InputError
from isthmus.migration.running import DeviceReading
from isthmus.observing.stack_state import StackState

Run = Callable[..., Result]


@pytest.fixture
def device() -> Iterator[Callable[[int, bytes], str]]:
    """Starts what answers so at a device's address. Its URL."""
    servers = []

    def start(status: int, content: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/routing" else 404)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on a stack with these fleets: name → device → URL."""

    def run(*words: str, fleets: Mapping[str, Mapping[str, str]]) -> Result:
        state = StackState("prod", {"fleets": {name: {"devices": devices} for name, devices in fleets.items()}}, {})
        monkeypatch.setattr(watching, "read_stack", lambda name: state)
        return CliRunner().invoke(app, ["hybrid", "watch", *words], env={"COLUMNS": "100"})

    return run


def printed(devices: tuple[DeviceReading, ...] | None = None) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(rendered(reading() if devices is None else reading(devices)))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_one_frame_has_a_row_a_device_why_the_cloud_role_and_the_map():
    text = printed()
    words = " ".join(text.split())
    assert "camera-1 cloud 25 % 73 % 2 % 10 14.2 ms 21 ms 48 ms closed" in words
    assert "camera-3: the cloud role is away; policy: network cut" in words
    assert "turned away 28" in words
    assert "good device cloud [2]" in words


def test_names_and_numbers_of_many_devices_fit():
    many = [DeviceReading("x" * 128, said()), *(DeviceReading(f"camera-{it}", AWAY if it % 2 else said()) for it in range(30))]
    assert "class camera · 31" in printed(tuple(many))
    failing = said(recent={**said().recent, "failed": 100_000, "peer": 1})
    assert "[red]not markup" in printed((DeviceReading("x" * 128, failing), DeviceReading("y", problem="[red]not markup")))


def test_devices_are_asked_and_one_that_cannot_be_says_why(watch: Run, device: Callable[[int, bytes], str]):
    urls = {
        "a": device(200, said().to_json()),
        "b": device(404, b"{}"),
        "c": "http://127.0.0.1:1",
        "d": device(200, b"<html>"),
        "e": device(500, b""),
    }
    done = watch("prod", "--once", fleets={"digits": urls})
    assert done.exit_code == 0
    words = " ".join(done.output.split())
    for text in (
        "hybrid · digits",
        "a cloud 25 % 73 %",
        "b: it serves no release",
        "c: no answer (ConnectionError)",
        "d: what it says of its routing cannot be read",
        "e: answers 500",
        "the stack has no cloud role",
    ):
        assert text in words
    data = json.loads(watch("prod/digits", "--once", "--json", fleets={"digits": urls, "other": {}}).output)
    assert data["devices"][0]["routing"]["place"] == "cloud"
    assert [bool(it["problem"]) for it in data["devices"]] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("words", "fleets", "text"),
    [
        (("prod",), {}, "has no hybrids"),
        (("prod/other",), {"digits": {}}, "has no hybrid 'other'"),
        (("prod",), {"a": {}, "b": {}}, "one of prod/a, prod/b"),
    ],
)
def test_where_there_is_nothing_to_watch_it_is_said(watch: Run, words: tuple[str, ...], fleets: dict[str, dict[str, str]], text: str):
    done = watch(*words, "--once", fleets=fleets)
    assert isinstance(done.exception, InputError)
    assert text in str(done.exception)


def test_it_is_shown_live_until_it_is_ended(monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []

    def sleep(_: float) -> None:
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "time", SimpleNamespace(sleep=sleep))  # its own alone: threads of others sleep, too

    def look() -> Any:
        looks.append(1)
        return reading()

    watching.show(look, once=False, as_json=False, page=False, port=0, every=1.0)
    assert len(looks) == 3


def test_it_is_served_as_a_page_that_is_kept_up_to_date(monkeypatch: pytest.MonkeyPatch):
    got: list[str] = []

    def until_ctrl_c(server: PageServer) -> None:
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in range(2)])
        thread.start()
        got.extend(requests.get(server.url + path, timeout=10).text for path in ("", "view"))
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", until_ctrl_c)
    watching.show(reading, once=False, as_json=False, page=True, port=0, every=60.0)
    assert all("class camera · now on cloud" in text for text in got)
