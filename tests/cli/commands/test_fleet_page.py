"""`isthmus fleet page`: in the terminal, as a file, and served to this machine alone."""

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rich.console import Console
from tests.cli.fleet_shell import Shell, shell_of
from tests.fleet_sayings import FLEET
from tests.fleet_standing import WAITING, WORDS, standing
from toolchain.testing.patience import wait_until

from isthmus.cli.commands.fleet.standing_view import rendered
from isthmus.cli.shared.serving import TROUBLE, PageServer, Shown, keep_looking, serve
from isthmus.errors import InputError, StoreError
from isthmus.pages.fleet import live_pages
from isthmus.repository import roster

EVIL = "\x1b]0;owned\x07[red]<script>"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = shell_of(tmp_path / "keys", monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    assert found("keys", "found").status == 0
    found.tell(b"a release")
    return found


@pytest.fixture
def shown() -> Shown:
    found = Shown(live_pages)
    found.take(standing(100))
    return found


@pytest.fixture
def server(shown: Shown) -> Iterator[PageServer]:
    with PageServer(shown, 0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def asked(server: PageServer, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    return connection.getresponse()


def printed(found: dict[str, Any], width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(rendered(found))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_terminal_has_waves_gates_failures_and_who_is_silent():
    text = printed({**standing(5000, text="SIGFPE"), "turns": WAITING})
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for said in (
        "number 17 · 5,000 devices",
        "× crashed (SIGFPE): camera-",
        "silent",
        "gate tenth wait:",
        "□ silent",
        "· not begun",
        *WORDS,
    ):
        assert said in words


def test_what_devices_say_is_no_markup_on_a_terminal():
    found = standing()
    found["failures"][0]["example"] = found["fleet"] = EVIL
    text = printed(found)
    assert "[red]<script>" in text
    assert "\x1b" not in text


def test_it_is_shown_and_written_from_what_is_signed_and_needs_no_secret(shell: Shell, tmp_path: Path):
    done = shell("fleet", "page")
    assert done.status == 0
    assert "the fleet's secret is not here" in " ".join(done.output.split())
    page = tmp_path / "fleet.html"
    assert shell("fleet", "page", "--to", str(page)).output.split() == ["page", str(page)]
    assert "Fleet cameras" in page.read_text()


def test_with_the_secret_it_has_what_devices_say(shell: Shell):
    roster.make_secret(roster.secret_uri(FLEET), shell.keys)
    done = shell("fleet", "page")
    assert done.status == 0
    assert "was not read" not in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "/nowhere/at/all"), "--to"),
        (("other",), "FLEET"),
        (("--secret", "env:NOT_THERE"), "NOT_THERE"),
    ],
)
def test_what_cannot_be_is_refused(shell: Shell, words: tuple[str, ...], said: str):
    done = shell("fleet", "page", *words)
    assert done.status == 1
    assert said in done.output


def test_a_fleet_that_was_told_nothing_has_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = shell_of(tmp_path / "keys", monkeypatch)
    found("keys", "init", FLEET)
    found("keys", "found")
    assert "was told nothing yet" in found("fleet", "page").output


def test_only_this_machines_own_address_is_answered(server: PageServer):
    assert server.server_address[0] == "127.0.0.1"
    for host in server.hosts:
        assert asked(server, Host=host).status == 200
    for host in (f"evil.example:{server.server_port}", "127.0.0.1", f"127.0.0.1:{server.server_port + 1}", ""):
        answer = asked(server, Host=host)
        assert answer.status == 421
        assert b"camera" not in answer.read()


def test_a_request_with_two_hosts_or_none_is_not_answered(server: PageServer):
    for hosts in ([server.hosts[0], "evil.example"], []):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
            lines = ["GET / HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            assert b" 421 " in connection.recv(1000)


def test_other_sites_can_neither_frame_nor_read_it(server: PageServer):
    for path in ("/", "/view", "/live.js"):
        answer = asked(server, path)
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert asked(server, "/../etc/passwd").status == asked(server, "/?x").status == 404


def test_what_did_not_change_is_not_sent_again(server: PageServer, shown: Shown):
    answer = asked(server, "/view")
    again = asked(server, "/view", If_None_Match=answer.headers["ETag"])
    assert (again.status, again.read()) == (304, b"")
    shown.take(standing(101))
    assert asked(server, "/view", If_None_Match=answer.headers["ETag"]).status == 200


def test_a_look_that_fails_is_said_and_the_last_one_stays(server: PageServer, shown: Shown):
    ended = threading.Event()

    def look() -> dict[str, Any]:
        ended.set()
        raise StoreError("the store\r\nis away")

    keep_looking(look, shown, 0.001, ended)
    answer = asked(server)
    assert answer.status == 200
    assert unquote(answer.headers[TROUBLE]) == "the store\r\nis away"
    assert b"camera-000" in answer.read()
    ended.clear()
    keep_looking(lambda: ended.set() or standing(102), shown, 0.001, ended)  # type: ignore[func-returns-value]
    assert TROUBLE not in asked(server).headers


def test_a_taken_port_is_told(server: PageServer):
    with pytest.raises(InputError, match="--port"):
        PageServer(Shown(live_pages), server.server_port)


def test_the_address_is_said_and_ctrl_c_is_an_end_and_no_error(monkeypatch: pytest.MonkeyPatch):
    asked_first = []

    def until_ctrl_c(server: PageServer) -> None:
        asked_first.append(server.url)
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", until_ctrl_c)
    console = Console(file=io.StringIO())
    serve(standing, standing(10), live_pages, console, port=0, every_seconds=60)
    assert asked_first[0] in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_live_page_shows_what_is_new_in_place_and_says_when_it_is_live_no_more(local_browser: Any, shown: Shown):
    with PageServer(shown, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        local_browser.open(server.url, 1280)
        live = "document.getElementById('live').textContent"
        wait_until(lambda: local_browser.value(live) == "Live.", 30)
        local_browser.value("document.getElementById('evidence-1').open = true; document.getElementById('summary-2').focus()")
        shown.take(standing(123))
        wait_until(lambda: local_browser.value("document.querySelector('.tiles dd').textContent").startswith("123"), 30)
        assert local_browser.value("document.getElementById('evidence-1').open")
        assert local_browser.value("document.activeElement.id") == "summary-2"
        shown.trouble = "the store is away <b>"
        wait_until(lambda: "the store is away <b>" in local_browser.value(live), 30)
        violations = [it for it in local_browser.complaints if not it.startswith(f"request to {server.url}")]
        assert violations == []
        server.shutdown()
        thread.join()
    wait_until(lambda: "Not live any more" in local_browser.value(live), 60)
