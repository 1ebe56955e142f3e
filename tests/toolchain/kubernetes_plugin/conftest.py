"""A real API server (with its controllers, without a kubelet: tests play it), and the started plugin."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from toolchain.cluster import Cluster, control, control_plane, down
from toolchain.prepare import layout
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience
from toolchain.testing import wire as client

PROJECT = Path(__file__).parents[3]
MAIN = PROJECT / "toolchain" / "kubernetes_plugin" / "__main__.py"
DEADLINE_SECONDS = 60


@pytest.fixture(scope="session")
def wire() -> ModuleType:
    """How a plugin is started and called."""
    return client


class Kubernetes:
    """The API server as its administrator sees it, and a kubelet's part played by hand."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubeconfig = cluster.kubeconfig.read_text()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(cluster.api.authority)
        self._session.cert = (str(cluster.api.client.certificate), str(cluster.api.client.key))

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        headers = {"Content-Type": content_type}
        answer = self._session.request(method, f"{self.cluster.server}{path}", json=body, headers=headers, timeout=30)
        assert answer.ok or answer.status_code == 404, answer.text
        return answer.json() if answer.ok else None

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self.request("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def apply(self, path: str, body: Any, manager: str) -> Any:
        return self.request("PATCH", f"{path}?fieldManager={manager}&force=true", body, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        self.request("DELETE", path)

    def pods(self, namespace: str, labels: str = "") -> list[Any]:
        return list(self.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={labels}")["items"])

    def set_pod(self, pod: Any, status: Mapping[str, Any]) -> None:
        meta = pod["metadata"]
        self.patch(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status", {"status": status})

    def run_pods(self, namespace: str, labels: str = "") -> int:
        """What a kubelet would say of Pods that work; returns how many there are."""
        pods = self.pods(namespace, labels)
        for pod in pods:
            fixed = {"ready": True, "started": True, "image": "i", "imageID": "i", "restartCount": 0, "state": {"running": {}}}
            statuses = [{"name": container["name"], **fixed} for container in pod["spec"]["containers"]]
            since = {"status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            conditions = [{"type": kind, **since} for kind in ("PodScheduled", "Ready")]
            address = {"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}
            self.set_pod(pod, {"phase": "Running", **address, "conditions": conditions, "containerStatuses": statuses})
        return len(pods)

    def control(self, action: str) -> None:
        control(self.cluster, action, "kube-apiserver")


@pytest.fixture(scope="package")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    folder = tmp_path_factory.mktemp("control-plane")
    try:
        cluster = control_plane(layout.load(PROJECT), folder, controllers=True)
    except PrepareError as error:
        pytest.skip(f"no API server: {error}")
    try:
        yield Kubernetes(cluster)
    finally:
        down(cluster.folder)


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubernetes.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture(scope="package")
def shared_plugin(wire: ModuleType, kubernetes: Kubernetes) -> Iterator[Any]:
    with wire.run_plugin(MAIN, {"KUBECONFIG": str(kubernetes.cluster.kubeconfig)}) as plugin:
        plugin.configure()
        yield plugin


@pytest.fixture
def plugin(shared_plugin: Any) -> Any:
    shared_plugin.engine.messages.clear()
    return shared_plugin


@pytest.fixture
def new_plugin(wire: ModuleType, kubernetes: Kubernetes) -> Callable[..., Any]:
    """Starts a plugin of the test's own, with settings, as a context manager."""

    @contextmanager
    def run(settings: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Any]:
        with wire.run_plugin(MAIN, {"KUBECONFIG": str(kubernetes.cluster.kubeconfig), **(environment or {})}) as plugin:
            plugin.configure(settings)
            yield plugin

    return run


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """What the condition returns once it is true."""

    def wait(condition: Callable[[], Any], timeout_seconds: float = DEADLINE_SECONDS) -> Any:
        return patience.wait_until(condition, timeout_seconds, every_seconds=0.05)

    return wait


@pytest.fixture
def in_background() -> Callable[[Callable[[], Any]], "futures.Future[Any]"]:
    """Runs work in a thread that a failed test does not have to wait for."""

    def start(work: Callable[[], Any]) -> "futures.Future[Any]":
        future: futures.Future[Any] = futures.Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    return start
