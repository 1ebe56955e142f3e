"""Fixtures of the release room's tests: a small release, servers that misbehave."""

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from isthmus.release.manifest import EDGE, GOLDEN_NAME, SERVING, FileEntry, Manifest, Record, Release, TensorSpec, Timing, Variant
from isthmus.release.s3_client import ATTEMPTS


@pytest.fixture
def make_release(tmp_path: Path) -> Callable[..., Release]:
    """Releases whose files hold what the test says. They can be fetched and verified, not run."""

    def make(model: bytes = b"an edge model", golden: bytes = b"{}", version: int = 1) -> Release:
        directory = tmp_path / f"release-{uuid.uuid4().hex[:8]}"
        entries = {}
        for path, content in (("edge/model.tflite", model), (GOLDEN_NAME, golden), ("serving/1/saved_model.pb", b"for the cloud only")):
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
            entries[path] = FileEntry(path, len(content), hashlib.sha256(content).hexdigest())
        manifest = Manifest(
            model="digits",
            version=version,
            recipe="int8",
            signature="serving_default",
            inputs=(TensorSpec("x", "float32", (-1, 4)),),
            outputs=(TensorSpec("y", "float32", (-1, 3)),),
            variants=(
                Variant(SERVING, "int8", (entries["serving/1/saved_model.pb"],), 0.98, 0.0),
                Variant(EDGE, "int8", (entries["edge/model.tflite"],), 0.98, 0.01),
            ),
            golden=entries[GOLDEN_NAME],
            golden_tolerance=0.1,
            source_accuracy=0.98,
            evaluation_examples=100,
            tools=(("tool", "1.0"),),
        )
        timing = Timing(1.0, 1.0, 1.0, 10)
        return Release(directory, manifest, Record("any", "2026-01-01T00:00:00+00:00", timing, timing))

    return make


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def http_404() -> Iterator[str]:
    """The URL of a web server that is no store."""

    class Handler(_Handler):
        def do_GET(self) -> None:
            self.send_error(404)

    for server in _serve(Handler):
        yield f"http://127.0.0.1:{server.server_port}"


class BreakingServer:
    """Sends `content`, and breaks each answer off when half of what is left is sent, until little is left."""

    def __init__(self) -> None:
        self.content = b""
        self.ranges: list[str | None] = []
        self.endpoint = ""


@pytest.fixture
def breaking_server() -> Iterator[BreakingServer]:
    state = BreakingServer()

    class Handler(_Handler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            state.ranges.append(span)
            rest = state.content[int(span.removeprefix("bytes=").removesuffix("-")) if span else 0 :]
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest if len(state.ranges) == ATTEMPTS else rest[: len(rest) // 2 + 1])
            self.close_connection = True

    for server in _serve(Handler):
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield state


@pytest.fixture
def trickling_server() -> Iterator[str]:
    """The URL of a store that sends a byte now and then of an object of a mebibyte."""
    stopped = threading.Event()

    class Handler(_Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 20))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            with suppress(OSError):
                while not stopped.wait(0.05):
                    self.wfile.write(b"x")

    for server in _serve(Handler):
        server.daemon_threads = True
        yield f"http://127.0.0.1:{server.server_port}"
        stopped.set()
