"""URLs of Unix sockets."""

import socket
import tempfile
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from isthmus.observing import sockets

PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60).map(lambda name: f"/run/{name}")


@given(PATHS)
def test_a_url_leads_to_the_path_that_it_was_made_of(path: str) -> None:
    prepared = requests.Request("GET", f"{sockets.url_of(path)}/v1/models/m?a=b").prepare()
    assert unquote(urlsplit(str(prepared.url)).netloc) == path
    assert prepared.path_url == "/v1/models/m?a=b"
    assert sockets.shown(sockets.url_of(path)) == f"unix:{path}"


def test_other_urls_are_shown_by_host_and_port() -> None:
    assert sockets.shown("http://127.0.0.1:8501") == "127.0.0.1:8501"


def test_no_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with tempfile.TemporaryDirectory(prefix="Isthmus-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(Path(folder) / "It")
        server.bind(path)
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")

        threading.Thread(target=serve, daemon=True).start()
        assert sockets.request("GET", f"{sockets.url_of(path)}/", timeout=10).text == "hi"


def test_nobody_there_is_a_connection_that_cannot_be_made() -> None:
    with pytest.raises(requests.ConnectionError, match="/nobody/there: No such file"):
        sockets.request("GET", f"{sockets.url_of('/nobody/there')}/", timeout=5)
