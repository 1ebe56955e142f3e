"""The `docker` platform with the real engine: two Docker hosts of unequal speed, one of them over SSH, and a store."""

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from toolchain import images
from toolchain.docker_engine.hosts import BRIDGE_ADDRESS, Site, start
from toolchain.docker_engine.images import load
from toolchain.docker_engine.programs import objection
from toolchain.docker_engine.ssh import SshServer, serve
from toolchain.prepare.layout import load as load_layout
from toolchain.prepare.steps import PrepareError

from isthmus.release.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.alone, pytest.mark.lane("machines"), pytest.mark.e2e, pytest.mark.timeout(1200)]

KEY = "a-long-enough-key"


class Hosts:
    """Engines, an SSH server in front of the second one, and a store that both reach."""

    def __init__(self, site: Site, ssh: SshServer, store: Store, folder: Path) -> None:
        self.site, self.ssh, self.store, self.root = site, ssh, store, folder / "vm"
        self.pull_endpoint = f"http://{BRIDGE_ADDRESS}:{site.expose(int(store.address.endpoint.rpartition(':')[2]))}"

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """One service on both hosts."""
        address = self.store.address
        hosts = [
            {"name": "vm-a", "address": self.site[0].host, "ip": self.site[0].address, "memory_mib": 2048},
            {"name": "vm-b", "address": self.ssh.url, "ip": self.site[1].address, "speed": 2.0},
        ]
        return {
            "model": "models/digits",
            "requests_per_second": 60,
            "p95_ms": 300,
            "balancing": "weighted",
            "profile": {"service_ms": 20},
            "platform": "docker",
            "docker": {"hosts": hosts, "directory": str(self.root), "ssh_options": list(self.ssh.options)},
            "images": {"serving": images.SERVING, "gateway": images.ENVOY, "fetch": images.FETCH},
            "gateway": {"api_keys": {"tester": KEY}},
            "store": {
                "endpoint": address.endpoint,
                "pull_endpoint": self.pull_endpoint,
                "access_key": address.access_key,
                "secret_key": address.secret_key,
            },
            "bucket": self.store.bucket,
            **changes,
        }

    def get(self, url: str, *options: str) -> str:
        """curl from the bridge that the hosts lie on."""
        command = self.site.enter(["curl", "--silent", "--show-error", "--max-time", "30", *options, url])
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def containers(self) -> dict[str, list[str]]:
        found = {}
        for engine in self.site:
            client = engine.client()
            found[engine.name] = sorted(container.name for container in client.containers.list(all=True))
            client.close()
        return found


@pytest.fixture(scope="module")
def hosts(seaweedfs: ModuleType) -> Iterator[Hosts]:
    if complaint := objection():
        pytest.skip(complaint)
    layout = load_layout(REPOSITORY)
    with tempfile.TemporaryDirectory(prefix="isthmus-docker-") as name, seaweedfs.running() as server:
        folder = Path(name)
        (folder / "engines").mkdir()
        try:
            archives = images.build(layout)
            site = start(layout, folder / "engines", ["vm-a", "vm-b"])
        except PrepareError as error:
            pytest.skip(str(error))
        with site, serve(layout, folder / "ssh", site[1]) as ssh:
            for engine in site:
                for archive in archives.values():
                    load(engine, archive)
            store = Store(server.address, "models")
            store.ensure_bucket()
            yield Hosts(site, ssh, store, folder)


def test_a_service_on_two_hosts_is_made_updated_without_a_lost_request_mended_and_removed(
    make_project: Callable[..., Any], hosts: Hosts
) -> None:
    project = make_project()
    project.configure(services={"digits": hosts.arguments()})
    done = project.up()
    assert done.code == 0, done
    endpoint = project.outputs()["services"]["digits"]["endpoint"]
    model, key = f"{endpoint}/v1/models/digits", ["--header", f"x-api-key: {KEY}"]
    assert "AVAILABLE" in hosts.get(model, *key)
    assert hosts.get(model, "--output", "/dev/null", "--write-out", "%{http_code}") == "401"
    shown = json.dumps(project.state())
    assert KEY not in shown
    assert hosts.store.address.secret_key not in shown
    assert project.preview("--expect-no-changes").code == 0

    status = project.isthmus("status", "test")
    assert "vm-a" in status, status
    assert "vm-b" in status, status
    logs = project.isthmus("logs", "test", "--tail", "3")
    assert logs.code == 0, logs
    assert "digits-vm-b" in logs or "vm-b" in logs, logs

    # Another release takes over while requests go on.
    answers: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers[hosts.get(f"{model}/metadata", *key, "--output", "/dev/null", "--write-out", "%{http_code}")] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    project.configure(services={"digits": hosts.arguments(version=2)})
    done = project.up()
    over.set()
    asking.join()
    assert done.code == 0, done
    assert set(answers) == {"200"}, answers
    assert answers["200"] > 10
    assert '"version": "2"' in hosts.get(model, *key)
    assert {name: len(found) for name, found in hosts.containers().items()} == {"vm-a": 2, "vm-b": 1}

    # A server that somebody stopped is found, and started again.
    client = hosts.site[1].client()
    (server,) = client.containers.list()
    server.stop(timeout=1)
    client.close()
    assert "DockerServer digits-vm-b-server" in project.refresh()
    done = project.up()
    assert done.code == 0, done
    assert project.preview("--expect-no-changes").code == 0

    done = project.destroy()
    assert done.code == 0, done
    assert hosts.containers() == {"vm-a": [], "vm-b": []}
    assert list(hosts.root.iterdir()) == []
    assert hosts.store.list("") == []


def test_the_articles_own_docker_run_is_reproduced_by_a_stack_of_one_host(
    make_project: Callable[..., Any], hosts: Hosts, tmp_path: Path
) -> None:
    project, example = make_project(), REPOSITORY / "examples" / "docker-run"
    for file in ("__main__.py", "Pulumi.yaml"):
        text = (example / file).read_text()
        text = text.replace("../../components", str(REPOSITORY / "components")).replace("../../.venv", sys.prefix)
        (project.root / file).write_text(text)
    (project.root / "stacks").rename(tmp_path / "stacks")
    engine, address = hosts.site[0], hosts.store.address
    config = {
        "address": engine.host,
        "ip": engine.address,
        "model": str(REPOSITORY / "models/digits"),
        "directory": str(hosts.root),
        "port": 8601,
        "grpc_port": 8600,
        "images": hosts.arguments()["images"],
        "store": {
            "endpoint": address.endpoint,
            "pull_endpoint": hosts.pull_endpoint,
            "access_key": address.access_key,
            "secret_key": address.secret_key,
        },
    }
    (project.root / "Pulumi.test.yaml").write_text(
        yaml.safe_dump({"config": {f"docker-run:{key}": value for key, value in config.items()}})
    )
    assert project.pulumi("stack", "init", "test").code == 0
    done = project.up()
    assert done.code == 0, done
    # What the article asks for: the model bind-mounted at /models/NAME, MODEL_NAME, REST on a published port.
    client = engine.client()
    (server,) = [it for it in client.containers.list() if not it.name.endswith("-gateway")]
    mount = next(it for it in server.attrs["Mounts"] if it["Destination"] == "/models/digits")
    assert (mount["Type"], mount["RW"]) == ("bind", False)
    assert "MODEL_NAME=digits" in server.attrs["Config"]["Env"]
    assert "8501/tcp" in server.attrs["HostConfig"]["PortBindings"]
    client.close()
    assert "AVAILABLE" in hosts.get(f"http://{engine.address}:8601/v1/models/digits")
    done = project.destroy()
    assert done.code == 0, done
