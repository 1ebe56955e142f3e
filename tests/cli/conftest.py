"""A small predict server that speaks just enough of the API, on a free loopback port."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SIGNATURE = {
    "inputs": {"image": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}, {"size": "2"}, {"size": "1"}]}}},
    "outputs": {"probabilities": {"dtype": "DT_FLOAT"}},
}


class Handler(BaseHTTPRequestHandler):
    """Answers class 1 for every example, and keeps the last body for the test to look at."""

    bodies: list[dict] = []  # noqa: RUF012

    def do_GET(self) -> None:
        if self.path == "/v1/models/m/metadata":
            self._send(200, {"metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}}})
        else:
            self._send(404, {"error": "Servable not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        self._send(200, {"predictions": [[0.1, 0.9] for _ in body["instances"]]})

    def _send(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """Base URL of the server."""
    Handler.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def signature() -> dict:
    return SIGNATURE


@pytest.fixture
def bodies() -> list[dict]:
    return Handler.bodies
