"""A probe sees whether a server answers, and whether with the model that it should."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from isthmus.provider.local.readiness import probe

PATH = "/v1/models/times"


class Model:
    """Multiplies by `factor`, as version `version`."""

    factor: float = 2
    version: int = 1
    status: int = 200


@pytest.fixture
def served() -> Iterator[tuple[Model, int]]:
    model = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"model_version_status": [{"state": "AVAILABLE"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]["x"]
            if self.path != f"{PATH}/versions/{model.version}:predict":
                return self.answer(404, {"error": "no such version"})
            if model.status == 400:
                return self.answer(400, {"error": "another signature"})
            self.answer(model.status, {"outputs": [[value * model.factor for value in row] for row in asked]})

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield model, server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def look(served: tuple[Model, int], tmp_path: Path) -> Callable[[], str]:
    """What the probe says."""
    golden = {"signature": "serving_default", "inputs": {"x": [[1.0], [3.0]]}, "outputs": {"y": [[2.0], [6.0]]}}
    (tmp_path / ".golden.json").write_text(json.dumps(golden))
    (tmp_path / ".release.json").write_text(json.dumps({"version": 1, "golden_tolerance": 0.01}))
    ready = {"port": "rest", "path": PATH, "contains": "AVAILABLE", "golden": str(tmp_path)}
    found = probe(ready, {"rest": served[1]}, {})
    assert found is not None

    def once() -> str:
        failure = found.failure()
        return "" if failure is None else f"{failure} (final)" if failure.is_final else str(failure)

    return once


def test_the_right_model_is_ready(served: tuple[Model, int], look: Callable[[], str]) -> None:
    assert look() == ""
    served[0].factor = 2.009
    assert look() == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"factor": 3}, "it serves another model: a golden vector is off by 1, allowed is 0.01 (final)"),
        ({"status": 400}, "off by inf"),
        ({"version": 2}, "it does not serve version 1 (final)"),
        ({"status": 503}, "HTTP 503 for a golden vector"),
    ],
)
def test_another_model_is_not_and_no_waiting_mends_that(
    served: tuple[Model, int], look: Callable[[], str], change: dict[str, Any], says: str
) -> None:
    for name, value in change.items():
        setattr(served[0], name, value)
    assert says in look()


def test_where_no_golden_vectors_lie_an_answer_is_enough(served: tuple[Model, int], look: Callable[[], str], tmp_path: Path) -> None:
    served[0].factor = 3
    (tmp_path / ".golden.json").write_text("not JSON")
    assert look() == ""
