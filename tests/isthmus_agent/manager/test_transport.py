"""A device's way to the store: connections that rest, TLS, proxies, and answers that never end."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus_agent.manager.failures import SlowFailure, TransportFailure
from isthmus_agent.manager.transport import Patience, Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def head(connection: socket.socket) -> bytes:
    """A request up to its body; nothing where the other side has ended."""
    found = b""
    while b"\r\n\r\n" not in found and (more := connection.recv(4096)):
        found += more
    return found


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with each connection. Its host and port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def got(transport: Transport, url: str, patience: Patience = Patience(deadline_seconds=30)) -> bytes:  # noqa: B008
    with transport.get(url, patience=patience) as answer:
        return b"".join(answer.chunks)


def test_a_connection_is_kept_for_the_next_request_and_replaced_once_the_server_has_ended_it():
    connections: list[int] = []

    def serve(connection: socket.socket) -> None:
        connections.append(0)
        while connections[-1] < 2 and head(connection):
            connections[-1] += 1
            connection.sendall(OK)

    with listening(serve) as place:
        transport = Transport()
        assert [got(transport, f"http://{place}/{index}") for index in range(5)] == [b"ok"] * 5
    assert connections == [2, 2, 1]


def test_a_connection_on_which_a_server_says_something_unasked_is_not_believed():
    count: list[int] = []
    seen = threading.Event()

    def serve(connection: socket.socket) -> None:
        head(connection)
        count.append(1)
        connection.sendall(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbogus")
        seen.set()
        head(connection)

    with listening(serve) as place:
        transport = Transport()
        assert got(transport, f"http://{place}/1") == b"ok"
        assert seen.wait(10)
        assert got(transport, f"http://{place}/2") == b"ok"
    assert len(count) == 2


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Connection: close", b"Transfer-Encoding: chunked"])
def test_a_body_that_comes_byte_by_byte_ends_with_the_deadline(framing: bytes):
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        while not ended.wait(0.02):
            connection.sendall(b"1\r\nx\r\n" if b"chunked" in framing else b"x")

    with listening(serve) as place, pytest.raises(SlowFailure):
        got(Transport(), f"http://{place}/", Patience(silence_seconds=5, deadline_seconds=0.4))
    ended.set()


def test_a_chunked_answer_is_read_and_its_connection_kept():
    connections: list[int] = []

    def serve(connection: socket.socket) -> None:
        connections.append(1)
        while head(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n")

    with listening(serve) as place:
        transport = Transport()
        assert [got(transport, f"http://{place}/{index}") for index in range(3)] == [b"ok!"] * 3
    assert len(connections) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99999]
)
def test_what_is_no_answer_is_a_failure_of_the_way(answer: bytes):
    def serve(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(answer)

    with listening(serve) as place, pytest.raises(TransportFailure):
        got(Transport(), f"http://{place}/")


def test_a_plain_proxy_is_asked_for_the_whole_address_and_told_who_asks(monkeypatch: pytest.MonkeyPatch):
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heads.append(head(connection))
        connection.sendall(OK)

    with listening(serve) as place:
        monkeypatch.setenv("http_proxy", f"http://me:pass%20word@{place}")
        assert got(Transport(), "http://store.example:9000/models/a?b=c") == b"ok"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert got(Transport(), f"http://{place}/direct") == b"ok"
    assert heads[0].startswith(b"GET http://store.example:9000/models/a?b=c HTTP/1.1\r\nHost: store.example:9000\r\n")
    assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in heads[0]
    assert heads[1].startswith(b"GET /direct HTTP/1.1\r\n")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 by nobody but itself, and a server's context with it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now, names = datetime.datetime.now(datetime.UTC), [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    made = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    both = tmp_path / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    both.write_bytes(private + (tmp_path / "ca.pem").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return tmp_path / "ca.pem", context


def test_a_store_is_known_by_the_certificate_that_is_named_and_by_no_other(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
):
    file, context = certificate
    tunnels: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            while head(tls):
                tls.sendall(OK)

    def tunnel(connection: socket.socket) -> None:
        tunnels.append(head(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        serve(connection)

    with listening(serve) as place:
        transport = Transport(ca_file=str(file))
        assert [got(transport, f"https://{place}/{index}") for index in range(2)] == [b"ok", b"ok"]
        with pytest.raises(TransportFailure, match="SSLCertVerificationError"):
            got(Transport(), f"https://{place}/")
    with listening(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy}")
        assert got(Transport(ca_file=str(file)), "https://127.0.0.1:9000/") == b"ok"
    assert tunnels[0].startswith(b"CONNECT 127.0.0.1:9000 HTTP/1.")


def test_a_handshake_that_never_ends_is_ended_by_the_deadline():
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        while not ended.wait(0.02):
            connection.sendall(b"\x02")

    with listening(serve) as place, pytest.raises(SlowFailure):
        got(Transport(), f"https://{place}/", Patience(silence_seconds=5, deadline_seconds=0.4))
    ended.set()
