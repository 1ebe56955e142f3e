"""Stand-ins on free loopback ports: a small predict server that speaks just enough of the API, and a small API server of Kubernetes."""

import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from tests.cli.batch_scorer import COLUMNS

from isthmus.observing.stack_state import StackState

SIGNATURE = {
    "inputs": {"image": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}, {"size": "2"}, {"size": "1"}]}}},
    "outputs": {"probabilities": {"dtype": "DT_FLOAT"}},
}


class Handler(BaseHTTPRequestHandler):
    """Answers class 1 for every example, and keeps bodies and headers for the test to look at."""

    bodies: list[dict] = []  # noqa: RUF012
    seen: list[dict] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/v1/models/closed/metadata":
            self._send(401, {"error": "no key"})
        elif self.path == "/readyz":
            self._send(200, {})
        elif self.path == "/healthz":
            self._send(200, {"digest": "sha256:" + "ab" * 32})
        elif self.path == "/v1/models/m":
            self._send(200, {"model_version_status": [{"version": "3", "state": "AVAILABLE"}]})
        elif self.path == "/v1/models/m/metadata":
            self._send(200, {"metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}}})
        else:
            self._send(404, {"error": "Servable not found"})

    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        self._send(200, {"predictions": [[0.1, 0.9] for _ in body["instances"]]})

    def _send(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("isthmus-track", self.headers.get("isthmus-track", "stable"))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class UnixServer(ThreadingHTTPServer):
    """The same at a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return self.socket.accept()[0], ("", 0)


@pytest.fixture
def unix_server() -> Iterator[str]:
    """The path of a small predict server's socket. It has upper and lower case in it."""
    with tempfile.TemporaryDirectory(prefix="isthmus-Aa-") as directory:
        path = str(Path(directory) / "a.rest")
        with UnixServer(path, Handler) as httpd:
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            yield path
            httpd.shutdown()


@pytest.fixture
def server() -> Iterator[str]:
    """Base URL of the server."""
    Handler.bodies.clear()
    Handler.seen.clear()
    with _serve(Handler) as url:
        yield url


@pytest.fixture
def tls_server() -> Iterator[Callable[[Path, Path], str]]:
    """Starts the predict server with a certificate and its key; its base URL."""
    with ExitStack() as stack:
        yield lambda certificate, key: stack.enter_context(_serve(Handler, (certificate, key)))


@contextmanager
def _serve(handler: Callable[..., BaseHTTPRequestHandler], tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()


@pytest.fixture
def signature() -> dict:
    return SIGNATURE


@pytest.fixture
def bodies() -> list[dict]:
    return Handler.bodies


@pytest.fixture
def seen() -> list[dict]:
    """The headers of the predict server's requests."""
    return Handler.seen


NAMESPACE, SERVICE = "ns", "digits"
LABELS = {"isthmus.dev/service": SERVICE, "app.kubernetes.io/part-of": "isthmus"}


def pod(name: str, component: str = "server", *, ready: bool = True, **labels: str) -> dict:
    """A Pod as the API has it, of one container that is called like its component."""
    more = {"isthmus.dev/track": "stable", "isthmus.dev/pool": "default", "isthmus.dev/version": "3"} if component == "server" else {}
    labels = {f"isthmus.dev/{key}": value for key, value in labels.items()}
    container = {"server": "server", "gateway": "envoy"}[component]
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {**LABELS, "app.kubernetes.io/component": component, **more, **labels},
            "annotations": {"isthmus.dev/release": "sha256:" + "ab" * 32} if component == "server" else {},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": container}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": container, "restartCount": 0, "state": {"running": {}}, "lastState": {}}],
        },
    }


@dataclass
class FakeApi:
    """What the API server has. lists: path of a kind → objects. one: path → object. logs: (Pod, container) → lines with their times.

    ended: the logs that do not go on. broken: after so many lines a connection breaks, once.
    """

    lists: dict[str, list[dict]] = field(default_factory=dict)
    one: dict[str, dict] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    previous: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ended: set[tuple[str, str]] = field(default_factory=set)
    broken: dict[tuple[str, str], int] = field(default_factory=dict)
    proxied: dict[str, str] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    kubeconfig: Path = Path()

    @property
    def pods(self) -> list[dict]:
        return self.lists.setdefault(f"/api/v1/namespaces/{NAMESPACE}/pods", [])

    def place(self, **more: object) -> dict:
        place = {"platform": "kubernetes", "namespace": NAMESPACE, "service": SERVICE, "tls": False, "tracks": ["stable"]}
        return {**place, "context": "here", "kubeconfig": str(self.kubeconfig), **more}

    def state(self, endpoint: str = "http://digits.ns.svc.cluster.local:8501", uid: str = "uid-service") -> StackState:
        outputs = {"endpoint": endpoint, "model_name": "m", "digest": "sha256:" + "ab" * 32, "plan": {"replicas": 2}, "place": self.place()}
        made = {"Service": {"digits-service": {"metadata": {"namespace": NAMESPACE, "name": SERVICE, "uid": uid}}}}
        return StackState("prod", {"services": {SERVICE: outputs}}, made)


class ApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, api: FakeApi, *args: object) -> None:
        self.api = api
        super().__init__(*args)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.api.requests.append(self.path)
        if self.headers.get("Authorization") != "Bearer hunter2":
            return self._fail(401, "Unauthorized")
        if any(part in url.path for part in self.api.forbidden):
            return self._fail(403, "forbidden")
        if "/proxy/" in url.path:
            return self._proxy("GET")
        if url.path.endswith("/log"):
            return self._log((url.path.split("/")[-2], query.pop("container")), query)
        if url.path in self.api.one:
            return self._send(200, self.api.one[url.path])
        items = self.api.lists.get(url.path)
        if items is None and "labelSelector" not in query:
            found = next((it for it in self.api.pods if url.path.endswith(f"/pods/{it['metadata']['name']}")), None)
            return self._send(200, found) if found else self._fail(404, "not found")
        wanted = dict(part.split("=") for part in query["labelSelector"].split(","))
        self._send(200, {"items": [it for it in items or () if wanted.items() <= it["metadata"]["labels"].items()]})

    def do_POST(self) -> None:
        self._proxy("POST")

    def _proxy(self, method: str) -> None:
        """To the address that stands for the Pod."""
        import requests

        target, _, path = self.path.partition("/pods/")[2].partition("/proxy/")
        base = self.api.proxied.get(target)
        if base is None:
            return self._fail(503, f"no endpoints available for {target}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        passed = {name: value for name, value in self.headers.items() if name.lower() not in ("authorization", "host", "content-length")}
        reply = requests.request(method, f"{base}/{path}", data=body or None, headers=passed, timeout=20)
        self._send(reply.status_code, reply.content, {"isthmus-track": reply.headers.get("isthmus-track", "")})

    def _log(self, key: tuple[str, str], query: dict[str, str]) -> None:
        logs = self.api.previous if query.get("previous") else self.api.logs
        if key not in logs:
            return self._fail(400, f'container "{key[1]}" in pod "{key[0]}" is waiting to start: ImagePullBackOff')
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        lines, sent, since = logs[key], 0, query.get("sinceTime", "")[:19]
        start = max(0, len(lines) - int(query["tailLines"])) if "tailLines" in query else 0
        while True:
            for line in lines[start:]:
                start += 1
                if line[:19] < since:
                    continue
                data = f"{line}\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                sent += 1
                if self.api.broken.get(key) == sent:
                    del self.api.broken[key]
                    self.close_connection = True
                    return None
            self.wfile.flush()
            if query.get("follow") != "true" or key in self.api.ended:
                break
            time.sleep(0.02)
        self.wfile.write(b"0\r\n\r\n")

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"kind": "Status", "message": message})

    def _send(self, status: int, content: dict | bytes, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """A cluster with a service, and no Pods yet."""
    found = FakeApi(kubeconfig=tmp_path / "kubeconfig")
    found.one[f"/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}"] = {"metadata": {"name": SERVICE, "uid": "uid-service"}}
    with _serve(partial(ApiHandler, found)) as url:
        content = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "hunter2"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "here",
        }
        found.kubeconfig.write_text(json.dumps(content))
        yield found


@pytest.fixture
def make_pod() -> Callable[..., dict]:
    return pod


@pytest.fixture
def examples(tmp_path):
    """Writes so many rows, no two alike; the file and the rows."""

    def write(rows: int, dtype: str = "float32"):
        x = (np.arange(rows * COLUMNS).reshape(rows, COLUMNS) % 1009).astype(dtype)
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy", x

    return write
