"""What another user of the machine gets from a stack's ports, sockets and files."""

import http.client
import multiprocessing
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

NOBODY = 65_534
PATIENCE_SECONDS = 10
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# What a TLS server of Go's says to a client that speaks plain HTTP; nobody has been let in by then.
SPEAK_TLS = b"Client sent an HTTP request to an HTTPS server."


# Another user may not read the libraries: what a connection needs is loaded before.
"localhost".encode("idna")
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def ports_of(pids: Iterable[int]) -> set[int]:
    """The TCP ports that these processes listen on."""
    return {it.laddr.port for pid in pids for it in psutil.Process(pid).net_connections("inet") if it.status == psutil.CONN_LISTEN}


def sockets_of(pids: Iterable[int]) -> set[str]:
    """The named Unix sockets of these processes."""
    return {it.laddr for pid in pids for it in psutil.Process(pid).net_connections("unix") if it.laddr}


def as_nobody(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of another user. It has to return something that can be sent."""
    ours, theirs = multiprocessing.Pipe()

    def run() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            theirs.send(work(*arguments))
        except BaseException as error:
            theirs.send(error)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found = ours.recv() if ours.poll(600) else TimeoutError("no answer")
    process.join(PATIENCE_SECONDS)
    if isinstance(found, BaseException):
        raise found
    return found


@contextmanager
def passable(folder: Path) -> Iterator[None]:
    """Lets everybody through to a folder of a test's own: what is in it has to be safe by itself."""
    changed = [(it, it.stat().st_mode & 0o777) for it in (folder, *folder.parents) if not it.stat().st_mode & 0o001]
    for it, mode in changed:
        it.chmod(mode | 0o011)
    try:
        yield
    finally:
        for it, mode in changed:
            it.chmod(mode)


def connected(paths: Iterable[str]) -> list[str]:
    """The Unix sockets that let this user connect."""
    found = []
    for path in paths:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_SECONDS)
            with suppress(OSError):
                client.connect(f"\0{path[1:]}" if path.startswith("@") else path)  # @: a name that is no file, and has no owner
                found.append(path)
    return found


def readable(folder: str) -> list[str]:
    """The files in and below a folder that this user can read, and the folders that it can list or write to."""
    found = []
    for where, folders, files in os.walk(folder):
        paths = [os.path.join(where, name) for name in (*folders, *files)]
        found += [path for path in paths if os.access(path, os.R_OK) or os.access(path, os.W_OK)]
    return found


def said(port: int) -> dict[str, bytes]:
    """The first bytes that a port answers to a client without credentials, by how it was asked; nothing where nobody was let in."""
    asked = {"http": _plain(port, b"GET / HTTP/1.0\r\n\r\n"), "http2": _plain(port, HTTP2_HELLO)}
    for way, protocol in (("https", "http/1.1"), ("grpc", "h2")):
        asked[way] = _tls(port, protocol, b"GET / HTTP/1.0\r\n\r\n" if way == "https" else HTTP2_HELLO)
    return {way: answer for way, answer in asked.items() if answer and SPEAK_TLS not in answer}


def _plain(port: int, hello: bytes) -> bytes:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as client:
        client.settimeout(2)
        return _answer(client, hello)
    return b""


def _tls(port: int, protocol: str, hello: bytes) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as raw,
        context.wrap_socket(raw) as client,
    ):
        return _answer(client, hello)
    return b""


def _answer(client: socket.socket, hello: bytes) -> bytes:
    client.sendall(hello)
    answer = b""
    with suppress(OSError):
        while len(answer) < 1000 and (more := client.recv(1000)):
            answer += more
    # An alert of TLS is the refusal itself: a record of type 21.
    return b"" if answer[:1] == b"\x15" else answer


def statuses(port: int, calls: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The status of each call, a method and a path, without credentials."""
    found = {}
    for method, path in calls:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body=b"x" if method in ("PUT", "POST") else None)
            found[f"{method} {path}"] = connection.getresponse().status
        finally:
            connection.close()
    return found
