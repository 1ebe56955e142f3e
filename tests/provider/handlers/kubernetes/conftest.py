"""A real API server, real Envoys as gateway Pods, and what a kubelet would do for them.

The control plane runs no Pods, so the Pods are entries that the tests make; a front before the API server answers requests to
the Pods' proxy from the processes that play them, and passes everything else on.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from toolchain.cluster import control_plane, down
from toolchain.prepare import layout
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience

from isthmus import gateway
from isthmus.names import GENERATION_ANNOTATION, service_labels, traffic_name
from isthmus.provider.clusters.capacity import BEFORE_ANNOTATION
from isthmus.provider.local.ports import choose

PROJECT = Path(__file__).parents[4]
SERVICE, MODEL = "digits", "digits"
OWNER = "organization/project/test"
STABLE_DIGEST, CANARY_DIGEST = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PROBE = json.dumps({"signature_name": "serving_default", "inputs": {"x": [[1.0], [2.0], [3.0], [4.0]]}})


class QuietHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Model:
    """Model servers. copies: of it. error_every: each such request fails; answers: of the probe's four examples."""

    def __init__(self, answers: list[list[float]], copies: int = 1) -> None:
        self.answers = answers
        self.copies = copies
        self.error_every = 0
        self.delay_seconds = 0.0
        self.requests = 0
        self.ports: list[int] = []

    @contextlib.contextmanager
    def running(self) -> Iterator["Model"]:
        model = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                self.reply(200, b"{}")

            def do_POST(self) -> None:
                self.body()
                model.requests += 1
                time.sleep(model.delay_seconds)
                failed = model.error_every and model.requests % model.error_every == 0
                self.reply(500 if failed else 200, json.dumps({"outputs": model.answers}).encode())

        with contextlib.ExitStack() as stack:
            self.ports = [stack.enter_context(serving(Handler)) for _ in range(self.copies)]
            yield self


class Api:
    """The API server as an administrator uses it; and the front, which the plugin uses."""

    def __init__(self, cluster: Any) -> None:
        client = cluster.api.client
        self._pool = urllib3.PoolManager(
            ca_certs=str(cluster.api.authority), cert_file=str(client.certificate), key_file=str(client.key), maxsize=32
        )
        self._server = cluster.server
        self.pods: dict[tuple[str, int], int] = {}
        """(Pod, port) → the port on this machine that plays it."""
        self.away = threading.Event()
        self.front_port = 0

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", *, accept: str = "application/json"
    ) -> tuple[int, bytes]:
        reply = self._pool.request(method, self._server + path, body=body, headers={"Content-Type": kind, "Accept": accept}, retries=False)
        return reply.status, reply.data

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        status, data = self.send(method, path, None if body is None else json.dumps(body).encode(), kind)
        if status == 404:
            return None
        assert status < 300, data
        return json.loads(data)

    @contextlib.contextmanager
    def front(self) -> Iterator[None]:
        api = self

        class Handler(QuietHandler):
            def handle_any(self) -> None:
                body = self.body() or None
                if api.away.is_set():
                    self.close_connection = True
                    return
                parts = self.path.split("/", 8)
                if len(parts) > 7 and parts[5] == "pods" and parts[7].partition("?")[0] == "proxy":
                    self.reply(*api.ask_pod(self.command, parts[6], parts[8], body))
                else:
                    kind, accept = (self.headers.get(name) or "application/json" for name in ("Content-Type", "Accept"))
                    self.reply(*api.send(self.command, self.path, body, kind, accept=accept))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        with serving(Handler) as self.front_port:
            yield

    def ask_pod(self, method: str, target: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        name, _, port = target.rpartition(":")
        played = self.pods.get((name, int(port)))
        try:
            if played is None:
                raise OSError("no such Pod")
            with urllib3.HTTPConnectionPool("127.0.0.1", played, timeout=10, retries=False) as pool:
                reply = pool.urlopen(method, "/" + path, body=body, headers={"Content-Type": "application/json"})
                return reply.status, reply.data
        except (OSError, urllib3.exceptions.HTTPError) as error:
            return 503, json.dumps({"kind": "Status", "code": 503, "message": f"error trying to reach service: {error}"}).encode()

    @property
    def kubeconfig(self) -> str:
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.front_port}"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )


@pytest.fixture(scope="package")
def api() -> Iterator[Api]:
    folder = Path(tempfile.mkdtemp(prefix="isthmus-"))
    try:
        cluster = control_plane(layout.load(PROJECT), folder / "cluster")
    except PrepareError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no control plane: {error}")
    try:
        found = Api(cluster)
        with found.front():
            yield found
    finally:
        down(cluster.folder)
        shutil.rmtree(folder, ignore_errors=True)


class Stage:
    """A namespace with a service in it: its Pods' entries, the Envoys that play its gateways, and clients."""

    def __init__(self, api: Api, folder: Path, stable: Model, canary: Model) -> None:
        self.api, self.folder = api, folder
        self.stable, self.canary = stable, canary
        self.namespace = f"canary-{uuid.uuid4().hex[:8]}"
        self.place = {"kubeconfig": api.kubeconfig, "namespace": self.namespace, "service": SERVICE}
        self.answers: list[int] = []
        self._envoys: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, dict[str, int]] = {}
        self._seen: dict[str, str] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    # What the plugin is given.

    def traffic_inputs(self, canary: str = CANARY_DIGEST, version: int = 2) -> dict[str, Any]:
        tracks = {"stable": {"version": 1, "digest": STABLE_DIGEST}}
        if canary:
            tracks["canary"] = {"version": version, "digest": canary}
        return {**self.place, "model_name": MODEL, "tracks": tracks}

    def gate_inputs(self, **changes: Any) -> dict[str, Any]:
        gate = {"min_requests": 40, "max_error_percent": 5, "interval_seconds": 0.2, "deadline_seconds": 60, **changes.pop("gate", {})}
        # The machine that tests run on stalls: times are judged in tests of their own.
        gate.setdefault("max_p95_ratio", 1000)
        return {**self.place, "canary_digest": CANARY_DIGEST, "canary_percent": 30, "gate": gate, "probes": [PROBE], **changes}

    # Pods.

    def path(self, kind: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def add_pod(self, name: str, component: str, track: str = "") -> None:
        more = {"isthmus.dev/track": track} if track else {}
        metadata = {"name": name, "labels": {**service_labels(SERVICE, component), **more}}
        self.api.call("POST", self.path("pods"), {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "local/none"}]}})
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        self.api.call("PATCH", self.path("pods", f"{name}/status"), status, "application/merge-patch+json")

    def remove_pod(self, name: str) -> None:
        self.api.call("DELETE", self.path("pods", f"{name}?gracePeriodSeconds=0"))

    def add_servers(self) -> None:
        for track, model in (("stable", self.stable), ("canary", self.canary)):
            self.add_pod(f"{SERVICE}-{track}-0", "server", track)
            self.api.pods[f"{SERVICE}-{track}-0", 8501] = model.ports[0]

    def add_gateway(self, name: str) -> None:
        """A gateway Pod: its entry, its files, its Envoy; ready when it has routes."""
        ports = self._ports[name] = dict(zip(("rest", "grpc", "admin", "status"), [choose(()) for _ in range(4)], strict=True))
        static, live, traffic = (self.folder / name / part for part in ("static", "live", "traffic"))
        for folder in (static, live, traffic):
            folder.mkdir(parents=True)
        tracks = tuple(
            gateway.Track(track, 0, tuple(gateway.Server("127.0.0.1", port, port) for port in model.ports))
            for track, model in (("stable", self.stable), ("canary", self.canary))
        )
        described = gateway.Gateway(
            name, MODEL, tracks, ports["rest"], ports["grpc"], ports["admin"], str(live), str(traffic),
            status_port=ports["status"], options=gateway.GatewayOptions(workers=1),
        )  # fmt: skip
        for folder, files in ((static, gateway.static_files(described)), (live, gateway.live_files(described))):
            for file, text in files.items():
                (folder / file).write_text(text)
        self.mount(name)
        command = [str(Path(sys.executable).parent / "envoy"), *gateway.command(described, str(static / "envoy.json"))[1:]]
        self._start(name, command)
        for port, played in ((9902, ports["status"]), (8501, ports["rest"])):
            self.api.pods[name, port] = played
        self.add_pod(name, "gateway")

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._envoys[name] = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = patience.Deadline(60)
        while self.ask(name, f"/v1/models/{MODEL}") != 200:
            assert self._envoys[name].poll() is None, (self.folder / f"{name}.log").read_text()
            assert not deadline.over(), (self.folder / f"{name}.log").read_text()
            time.sleep(0.05)

    def restart_gateway(self, name: str) -> None:
        """Kills the Envoy of a Pod and starts it again, as a kubelet does: its counters begin at 0, its folders stay."""
        command = list(self._envoys[name].args)  # type: ignore[arg-type]
        self._end(name)
        self._start(name, command)  # type: ignore[arg-type]

    def remove_gateway(self, name: str) -> None:
        self.remove_pod(name)
        del self._ports[name]
        self._end(name)

    def _end(self, name: str) -> None:
        process = self._envoys.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def ask(self, name: str, path: str) -> int:
        try:
            with urllib3.HTTPConnectionPool("127.0.0.1", self._ports[name]["rest"], timeout=10, retries=False) as pool:
                return int(pool.urlopen("GET", path).status)
        except (OSError, KeyError, urllib3.exceptions.HTTPError):
            return 0

    # What a kubelet does: it looks at the ConfigMap when the Pod starts, and when the Pod's entry changes.

    def mount(self, name: str) -> None:
        found = self.config_map()
        new = self.folder / name / "rds.new"
        new.write_text(found["data"]["rds.json"])
        os.replace(new, self.folder / name / "traffic" / "rds.json")

    def _kubelet(self) -> None:
        selector = f"app.kubernetes.io/component=gateway,isthmus.dev/service={SERVICE}"
        while not self._stop.wait(0.05):
            for pod in self.api.call("GET", self.path("pods") + f"?labelSelector={selector}")["items"]:
                name = pod["metadata"]["name"]
                generation = pod["metadata"].get("annotations", {}).get(GENERATION_ANNOTATION, "")
                if generation and self._seen.get(name) != generation and name in self._envoys:
                    self.mount(name)
                    self._seen[name] = generation

    # Clients: as many requests to each gateway, all the time.

    def _client(self) -> None:
        with urllib3.PoolManager(maxsize=4, retries=False) as pool:
            while not self._stop.wait(0.01):
                for name, ports in list(self._ports.items()):
                    try:
                        url = f"http://127.0.0.1:{ports['rest']}/v1/models/{MODEL}:predict"
                        status = pool.request("POST", url, body=PROBE, headers={"Content-Type": "application/json"}).status
                    except urllib3.exceptions.HTTPError:
                        status = 0
                    if name in self._ports:  # a Pod that is being removed is the Service's business
                        self.answers.append(status)

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def start(self, *, load: bool = True) -> "Stage":
        """Two gateways and both servers. A GatewayTraffic must be there already."""
        self.add_servers()
        for name in ("gateway-0", "gateway-1"):
            self.add_gateway(name)
        self._run(self._kubelet)
        for _ in range(2 if load else 0):
            self._run(self._client)
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        for name in list(self._envoys):
            self._end(name)
        self.api.pods.clear()
        self.api.away.clear()

    # What is seen from outside.

    def config_map(self) -> Any:
        return self.api.call("GET", self.path("configmaps", traffic_name(SERVICE)))

    def annotation(self) -> Any:
        return json.loads(self.config_map()["metadata"]["annotations"]["isthmus.dev/traffic"])

    def shares(self, requests: int = 60) -> dict[str, set[str]]:
        """Gateway → the tracks that answer there now."""
        found: dict[str, set[str]] = {}
        with urllib3.PoolManager(retries=False) as pool:
            for name, ports in self._ports.items():
                url = f"http://127.0.0.1:{ports['rest']}/v1/models/{MODEL}:predict"
                found[name] = {pool.request("POST", url, body=PROBE).headers[gateway.TRACK_HEADER] for _ in range(requests)}
        return found


@contextlib.contextmanager
def staged(api: Api, copies: int = 1) -> Iterator[Stage]:
    """copies: servers of each track."""
    folder = Path(tempfile.mkdtemp(prefix="isthmus-"))
    classes = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]
    with Model(classes, copies).running() as stable, Model(classes, copies).running() as canary:
        found = Stage(api, folder, stable, canary)
        try:
            yield found
        finally:
            found.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stage(api: Api) -> Iterator[Stage]:
    with staged(api) as found:
        yield found


@pytest.fixture
def roomy_stage(api: Api) -> Iterator[Stage]:
    """With four servers of each release behind every gateway."""
    with staged(api, 4) as found:
        yield found


class Servers:
    """Deployments and autoscalers of a service. While `obedient`, as many servers are ready as a Deployment is told to have; when the
    cluster is `full`, no more than before."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.obedient = True
        self.full = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def deployments(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    @property
    def scalers(self) -> str:
        return f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers"

    def make(self, track: str, replicas: int, least: int = 0, most: int = 0, owner: str = OWNER) -> None:
        """least, most: of its autoscaler; 0: it has none."""
        chosen = {"isthmus.dev/service": "digits", "app.kubernetes.io/component": "server", "isthmus.dev/track": track}
        metadata = {"name": f"digits-{track}", "labels": chosen, "annotations": {"isthmus.dev/owner": owner}}
        template = {"metadata": {"labels": chosen}, "spec": {"containers": [{"name": "c", "image": "local/none"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": chosen}, "template": template}
        self.api.call("POST", self.deployments, {"metadata": metadata, "spec": spec})
        if most:
            target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"digits-{track}"}
            self.api.call(
                "POST", self.scalers, {"metadata": metadata, "spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most}}
            )

    def told(self, track: str) -> int:
        return int(self.api.call("GET", f"{self.deployments}/digits-{track}")["spec"]["replicas"])

    def least(self, track: str) -> int:
        return int(self.api.call("GET", f"{self.scalers}/digits-{track}")["spec"]["minReplicas"])

    def before(self, track: str) -> str:
        return str(self.api.call("GET", f"{self.scalers}/digits-{track}")["metadata"].get("annotations", {}).get(BEFORE_ANNOTATION, ""))

    def autoscaler_says(self, track: str, *, limited: bool) -> None:
        condition = {"type": "ScalingLimited", "status": str(limited), "reason": "TooFewReplicas" if limited else "DesiredWithinRange"}
        status = {"status": {"conditions": [condition], "desiredReplicas": 1, "currentReplicas": 1, "observedGeneration": 1000}}
        self.api.call("PATCH", f"{self.scalers}/digits-{track}/status", status, "application/merge-patch+json")

    def scale(self, track: str, replicas: int) -> None:
        """As an autoscaler does."""
        path, body = f"{self.deployments}/digits-{track}/scale", {"spec": {"replicas": replicas}}
        self.api.call("PATCH", path, body, "application/merge-patch+json")

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for it in self.api.call("GET", self.deployments)["items"]:
                name, replicas, generation = it["metadata"]["name"], it["spec"]["replicas"], it["metadata"]["generation"]
                status = it.get("status", {})
                replicas = min(replicas, status.get("readyReplicas", 0)) if self.full else replicas
                if self.obedient and (status.get("readyReplicas"), status.get("observedGeneration")) != (replicas, generation):
                    new = {"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas}
                    path = f"{self.deployments}/{name}/status"
                    self.api.call("PATCH", path, {"status": new}, "application/merge-patch+json")

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(20)


@pytest.fixture
def servers_in(api: Api) -> Iterator[Callable[[str], Servers]]:
    """Makes the servers of a service in a namespace."""
    made: list[Servers] = []

    def make(namespace: str) -> Servers:
        made.append(Servers(api, namespace))
        made[-1].start()
        return made[-1]

    yield make
    for found in made:
        found.stop()


@pytest.fixture
def servers(api: Api, servers_in: Callable[[str], Servers]) -> Servers:
    namespace = f"capacity-{uuid.uuid4().hex[:8]}"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    return servers_in(namespace)
