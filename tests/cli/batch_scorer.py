"""A predict server for the tests of batch jobs, and the signatures of the models that it plays."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DT = {"float32": "DT_FLOAT", "int64": "DT_INT64", "object": "DT_STRING"}
COLUMNS = 3


def tensor(*shape, dtype="float32"):
    return {"dtype": DT[dtype], "tensor_shape": {"dim": [{"size": str(size)} for size in shape], "unknown_rank": False}}


ONE = {"inputs": {"x": tensor(-1, COLUMNS)}, "outputs": {"y": tensor(-1, 2)}}
TWO = {
    "inputs": {"x": tensor(-1, COLUMNS), "k": tensor(-1, dtype="int64")},
    "outputs": {"y": tensor(-1, 2), "k2": tensor(-1, dtype="int64")},
}


def expected(x):
    return np.stack([x.sum(axis=1), x.max(axis=1)], axis=1).astype(np.float32)


@dataclass
class Scorer:
    """A predict server that works on one request at a time.

    fail_after: so many rows, it answers times_failing times with fail_status; 0: it closes the connection; −1: it never answers.
    rows: that it answered for.
    """

    seconds_per_row: float = 0.0
    signature: dict = field(default_factory=lambda: ONE)
    fail_after: int | None = None
    fail_status: int = 503
    times_failing: int = 10**9
    rows: int = 0
    url: str = ""
    core: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, body: bytes) -> tuple[int, dict]:
        inputs = json.loads(body)["inputs"]
        x = np.array(inputs["x"], dtype=np.float32)
        with self.core:
            if self.fail_after is not None and self.rows >= self.fail_after and self.times_failing > 0:
                self.times_failing -= 1
                return self.fail_status, {"error": "out of order"}
            time.sleep(self.seconds_per_row * len(x))
            self.rows += len(x)
        found = expected(x).tolist()
        return 200, {"outputs": {"y": found, "k2": [2 * k for k in inputs["k"]]} if "k" in inputs else found}


def handler(scorer: Scorer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"metadata": {"signature_def": {"signature_def": {"serving_default": scorer.signature}}}})

        def do_POST(self) -> None:
            self.answer(*scorer.predict(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, status: int, content: dict) -> None:
            if status < 0:
                time.sleep(60)
            elif status:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(scorer: Scorer):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(scorer)) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        scorer.url = f"http://127.0.0.1:{httpd.server_port}"
        try:
            yield scorer
        finally:
            httpd.shutdown()
            thread.join()
