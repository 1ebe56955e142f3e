"""A real cluster, a real store and the real engine; one of each for all the tests of a process.

`make test` runs these files in two processes beside all other tests, each with a cluster of its own, since they wait more than they work
(see docs/testing.md); only what an autoscaler does is measured with nothing beside it. Where no cluster can be made they are skipped, with
the reason.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toolchain import cluster as test_cluster
from toolchain import images as test_images
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience

from isthmus.release.store import Store

pytestmark = pytest.mark.alone

TESTS = Path(__file__).resolve().parents[1]
LAYOUT = load(TESTS.parent)


def _module(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


project_module = _module("isthmus_cluster_project", TESTS / "e2e" / "project.py")
# Nobody minds a lost request of a service that no test counts them of: its Pods go at once.
QUICK = {"gateway_leave_seconds": 2, "server_drain_seconds": 2}
OPEN_LOOP = TESTS / "e2e" / "openloop.py"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["test_cluster.Cluster"]:
    """One of two nodes for the run, with the test images in it; or the one in the folder that ISTHMUS_TEST_CLUSTER names, which stays."""
    if kept := os.environ.get("ISTHMUS_TEST_CLUSTER"):
        found = test_cluster.find(Path(kept))
        assert found is not None, f"no cluster runs in {kept}"
        yield found
        return
    folder = Path(f"/tmp/isthmus-cluster-{uuid.uuid4().hex[:8]}")  # noqa: S108  sockets have short paths
    try:
        made = test_cluster.up(LAYOUT, folder, nodes=2)
    except PrepareError as error:
        pytest.skip(f"no cluster can be made here: {error}")
    try:
        for archive in test_images.build(LAYOUT).values():
            test_cluster.load_image(made, archive)
        yield made
    finally:
        test_cluster.down(folder)


class Place:
    """What a stack file needs to know of the cluster, and what a test asks of it."""

    def __init__(self, cluster: "test_cluster.Cluster", store: Any, pull_endpoint: str) -> None:
        self.cluster, self.store, self.pull_endpoint = cluster, store, pull_endpoint

    def kubectl(self, *words: str, check: bool = True, seconds: float = 120) -> str:
        command, most_seconds = ["kubectl", *words], patience.scaled(seconds)
        done = subprocess.run(command, env=self.cluster.environment, capture_output=True, text=True, timeout=most_seconds, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else done.stderr

    def get(self, kind: str, namespace: str, name: str = "", selector: str = "") -> Any:
        words = ["get", kind, "-n", namespace, "-o", "json", *([name] if name else []), *(["-l", selector] if selector else [])]
        found = json.loads(self.kubectl(*words))
        return found if name else found["items"]

    def clear(self, namespace: str) -> None:
        """Ends its Pods at once, so that a `destroy` need not wait until they have left in order, as test_service.py's does."""
        self.kubectl("scale", "deployments", "--all", "--replicas=0", "-n", namespace, check=False)
        self.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force", check=False)

    def arguments(self, bucket: str, namespace: str, *, quick: bool = True, **changes: Any) -> dict[str, Any]:
        """Of a service of the digits model, in a namespace that is made for it. quick: as QUICK says."""
        address = self.store.address
        kubernetes = {
            "kubeconfig": str(self.cluster.kubeconfig),
            "namespace": namespace,
            "create_namespace": True,
            "cpu_millis": 100,
            "service_type": "NodePort",
            "deadline_seconds": round(patience.scaled(150)),
            **(QUICK if quick else {}),
        }
        return {
            "model": "models/digits",
            "model_name": "digits",
            "min_accuracy": 0.97,
            "requests_per_second": 20,
            "p95_ms": 200,
            "min_replicas": 2,
            "max_replicas": 4,
            "platform": "kubernetes",
            "bucket": bucket,
            "store": {
                "endpoint": address.endpoint,
                "pull_endpoint": self.pull_endpoint,
                "access_key": address.access_key,
                "secret_key": address.secret_key,
            },
            # A gateway that goes away, and is not `quick`, serves on for as long as one more request may take, and 15 s.
            "gateway": {"timeout_seconds": 10},
            "images": {"serving": test_images.SERVING, "gateway": test_images.ENVOY, "fetch": test_images.FETCH},
            **changes,
            "kubernetes": {**kubernetes, **changes.get("kubernetes", {})},
        }

    def url(self, name: str, path: str = ":predict") -> str:
        """Of a service's gateway, as the cluster's network knows it. name: of the service and of its namespace."""
        address = self.get("service", name, name)["spec"]["clusterIP"]
        return f"http://{address}:8501/v1/models/digits{path}"

    def ask(self, url: str, body: Path, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of a predict call from inside the cluster's network."""
        program = (
            "import json, sys, requests\n"
            "r = requests.post(sys.argv[1], data=open(sys.argv[2], 'rb'), headers=json.loads(sys.argv[3]), timeout=30)\n"
            "json.dump([r.status_code, r.json(), r.headers.get('isthmus-track', '')], sys.stdout)"
        )
        command = [sys.executable, "-c", program, url, str(body), json.dumps({"Content-Type": "application/json", **headers})]
        done = subprocess.run(
            test_cluster.enter(self.cluster, command), capture_output=True, text=True, timeout=patience.scaled(60), check=False
        )
        assert done.returncode == 0, done.stderr
        status, answer, track = json.loads(done.stdout)
        return status, {**answer, "track": track}

    @contextmanager
    def load(self, url: str, body: Path, rate: float, seconds: float, *more: str) -> Iterator["Load"]:
        """An open-loop client in the cluster's network, until the block ends."""
        command = [sys.executable, str(OPEN_LOOP), url, "--body", str(body), "--rate", str(rate), "--seconds", str(seconds), *more]
        with subprocess.Popen(
            test_cluster.enter(self.cluster, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            load = Load(process)
            try:
                yield load
            finally:
                load.stop()


class Load:
    """found: what the client saw, once it is stopped."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.found: dict[str, Any] = {}

    def stop(self) -> dict[str, Any]:
        if not self.found:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGTERM)
            out, err = patience.communicate(self.process, 90)
            assert self.process.returncode == 0, err
            self.found = json.loads(out)
        return self.found


@pytest.fixture(scope="session")
def place(cluster: "test_cluster.Cluster", store_server: Any) -> Place:
    """The cluster, and a store that its Pods reach."""
    host, port = test_cluster.expose(cluster, int(store_server.address.endpoint.rsplit(":", 1)[1]))
    return Place(cluster, store_server, f"http://{host}:{port}")


@pytest.fixture(scope="module")
def bucket(store_server: Any) -> Iterator[str]:
    """A bucket of the module's own."""
    name = f"models-{uuid.uuid4().hex[:8]}"
    store = Store(store_server.address, name)
    store.ensure_bucket()
    yield name
    store.delete_bucket()


@pytest.fixture(scope="module")
def make_project(
    tmp_path_factory: pytest.TempPathFactory, releases: Path, place: Place, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Any]]:
    """Makes projects; each is destroyed at the end of the module, whose services are in its NAMESPACE."""
    if shutil.which("pulumi") is None and not (project_module.REPOSITORY / ".toolchain/bin/pulumi").exists():
        pytest.fail("no `pulumi`: run `make test`, which prepares one")
    made = []

    def make() -> Any:
        project = project_module.Project(tmp_path_factory.mktemp("p"), releases)
        project.init()
        made.append(project)
        return project

    yield make
    place.clear(request.module.NAMESPACE)
    for project in made:
        done = project.destroy()
        assert done.code == 0, done


@pytest.fixture(scope="session")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predict request with one digit."""
    file = tmp_path_factory.mktemp("body") / "one.json"
    row = [[[(r * 8 + c) % 16 / 16] for c in range(8)] for r in range(8)]
    file.write_text(json.dumps({"instances": [row]}))
    return file


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`patience.wait_until` with a cluster's times."""

    def wait(check: Callable[[], object], seconds: float = 60) -> Any:
        return patience.wait_until(check, seconds, every_seconds=0.5)

    return wait
