"""DockerFiles and DockerGate with a real Envoy, and an engine that is reached over SSH."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toolchain.docker_engine.ssh import serve as serve_ssh
from toolchain.prepare.layout import Layout

from isthmus.errors import PlatformError
from isthmus.gateway import GatewayOptions, Server
from isthmus.platforms.docker import desired as docker
from isthmus.provider.docker.client import connect

# A model server as far as a gateway can tell: healthy, and it says which one it is.
FAKE_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""
PORT, GRPC_PORT = 18501, 18500


@pytest.fixture
def fake_servers(machine: Any) -> Iterator[list[Server]]:
    """Two of them in the engine's own network namespace, on both of their ports."""
    started = []
    for name, ports in (("blue", (18511, 18521)), ("green", (18512, 18522))):
        for port in ports:
            command = ["nsenter", f"--net={machine.engine.namespace}", "--", sys.executable, "-c", FAKE_SERVER, str(port), name]
            started.append(subprocess.Popen(command))
    yield [Server(machine.engine.address, 18511, 18521), Server(machine.engine.address, 18512, 18522)]
    for process in started:
        process.kill()
        process.wait()


class Gateway:
    """The gateway's three resources, as the platform makes them."""

    def __init__(self, plugin: Any, machine: Any, root: str) -> None:
        self.plugin, self.machine, self.root = plugin, machine, root
        address = machine.engine.address
        self.host = docker.Host("vm-a", machine.engine.host, address, address)
        self.common = {"host": machine.host, "image": machine.images["fetch"]}

    def spec(self, servers: list[Server], **options: Any) -> Any:
        return docker.gateway(
            "times",
            "times",
            1,
            servers,
            self.host,
            port=PORT,
            grpc_port=GRPC_PORT,
            balancing="round_robin",
            options=GatewayOptions(workers=1, **options),
        )

    def files(self, spec: Any) -> dict[str, Any]:
        contents = {**docker.static_files(spec), **docker.live_files(spec)}
        return {**self.common, "root": self.root, "folder": "times/gateway", "group": int(docker.GATEWAY_USER), "files": contents}

    def gate(self, spec: Any, deadline_seconds: float = 60) -> dict[str, Any]:
        return {
            **self.common,
            "container": "times-gateway",
            "admin_port": docker.admin_port(PORT),
            "endpoints": docker.endpoints(spec),
            "revision": docker.revision(docker.live_files(spec)),
            "deadline_seconds": deadline_seconds,
        }

    def start_envoy(self, spec: Any) -> None:
        """What pulumi-docker would do."""
        inputs = docker.gateway_container("times", spec, f"{self.root}/times/gateway")
        assert tuple(inputs) == docker.GATEWAY_INPUTS
        client = self.machine.engine.client()
        (mount,) = inputs["mounts"]
        client.containers.run(
            self.machine.images["gateway"],
            inputs["command"],
            name=inputs["name"],
            entrypoint=inputs["entrypoints"],
            network_mode=inputs["network_mode"],
            volumes={mount["source"]: {"bind": mount["target"], "mode": "ro"}},
            user=inputs["user"],
            cap_drop=inputs["capabilities"]["drops"],
            security_opt=inputs["security_opts"],
            read_only=inputs["read_only"],
            detach=True,
        )
        client.close()

    def answers(self, count: int = 20) -> set[str]:
        url = f"http://{self.machine.engine.address}:{PORT}/v1/models/times"
        return {self.machine.get(url).stdout for _ in range(count)}


@pytest.fixture
def gateway(plugin: Any, machine: Any, root: str) -> Gateway:
    return Gateway(plugin, machine, root)


def test_a_new_server_takes_over_while_envoy_runs_and_the_gate_sees_it(
    gateway: Gateway, plugin: Any, machine: Any, fake_servers: list[Server]
) -> None:
    before = gateway.spec(fake_servers[:1])
    files = plugin.create("DockerFiles", gateway.files(before))
    gateway.start_envoy(before)
    gate = plugin.create("DockerGate", gateway.gate(before))
    assert gateway.answers() == {"blue"}
    (container,) = machine.containers()

    after = gateway.spec(fake_servers[1:])
    assert docker.static_files(after) == docker.static_files(before)
    assert plugin.diff(gate, gateway.gate(after)).diffs
    with pytest.raises(Exception, match=r"host vm-a: waiting for the gateway .* servers: stable-grpc::") as raised:
        plugin.update(gate, gateway.gate(after, deadline_seconds=2))
    assert raised.value.outputs["endpoints"] == docker.endpoints(after)

    files = plugin.update(files, gateway.files(after))
    plugin.update(gate, gateway.gate(after))
    assert gateway.answers() == {"green"}
    (same,) = machine.containers()
    assert same["Id"] == container["Id"]

    client = machine.engine.client()
    client.containers.get("times-gateway").stop(timeout=1)
    client.close()
    with pytest.raises(Exception, match=r"host vm-a: the gateway ended"):
        plugin.update(gate, gateway.gate(after))
    plugin.delete(files)
    assert machine.run(f"ls -A {gateway.root}", gateway.root) == ""


def test_files_are_for_their_group_alone_and_their_loss_or_change_is_drift(gateway: Gateway, plugin: Any, machine: Any, root: str) -> None:
    inputs = gateway.files(gateway.spec([], api_keys={"client": "a-long-enough-key"}))
    files = plugin.create("DockerFiles", inputs)
    listed = machine.run(f"cd {root}/times/gateway && stat -c '%a %u %g' live/lds.json && ls live", root)
    assert listed.split() == ["440", "0", docker.GATEWAY_USER, "cds.json", "lds.json"]
    assert not plugin.diff(plugin.read(files), inputs).diffs
    for damage in (
        f"rm {root}/times/gateway/live/lds.json",
        f"chmod 644 {root}/times/gateway/live/cds.json; echo x >>{root}/times/gateway/live/cds.json",
    ):
        machine.run(damage, root)
        found = plugin.read(files)
        assert list(plugin.diff(found, inputs).diffs) == ["found"]
        files = plugin.update(found, inputs)
        assert not plugin.diff(plugin.read(files), inputs).diffs
    machine.run(f"rm -rf {root}/times", root)
    assert plugin.read(files) is None


def test_files_and_a_gate_that_are_replaced_in_place_survive_the_old_ones(
    gateway: Gateway, plugin: Any, machine: Any, root: str, fake_servers: list[Server]
) -> None:
    spec = gateway.spec(fake_servers)
    old_files, new_files = (plugin.create("DockerFiles", gateway.files(spec)) for _ in range(2))
    gateway.start_envoy(spec)
    old_gate, new_gate = (plugin.create("DockerGate", gateway.gate(spec)) for _ in range(2))
    plugin.delete(old_gate)
    plugin.delete(old_files)
    assert not plugin.diff(plugin.read(new_files), gateway.files(spec)).diffs
    new_files = plugin.update(new_files, gateway.files(spec))
    plugin.delete(old_files)
    assert plugin.read(new_files) is not None
    assert gateway.answers() == {"blue", "green"}
    plugin.delete(new_gate)
    plugin.delete(new_files)
    assert machine.run(f"ls -A {root}", root) == ""


def test_a_gateway_that_hangs_is_drift_that_an_update_mends(
    gateway: Gateway, plugin: Any, machine: Any, fake_servers: list[Server]
) -> None:
    spec = gateway.spec(fake_servers)
    plugin.create("DockerFiles", gateway.files(spec))
    gateway.start_envoy(spec)
    gate = plugin.create("DockerGate", gateway.gate(spec))
    assert not plugin.diff(plugin.read(gate), gateway.gate(spec)).diffs
    impatient = gateway.gate(spec, deadline_seconds=5)
    gate = plugin.update(gate, impatient)
    client = machine.engine.client()
    client.api.kill("times-gateway", "STOP")
    client.close()
    found = plugin.read(gate)
    assert list(plugin.diff(found, impatient).diffs) == ["status"]
    plugin.update(found, gateway.gate(spec))
    assert gateway.answers() == {"blue", "green"}


def test_two_gateways_that_ask_for_one_port_of_a_host_are_told_at_preview(plugin: Any) -> None:
    def found(name: str, address: str, port: int = 28501) -> list[str]:
        host = {"name": "vm-a", "address": address, "ssh_options": []}
        gate = {"host": host, "image": "fetch", "container": name, "admin_port": port, "endpoints": {}, "revision": "1"}
        return list(plugin.problems("DockerGate", gate, name=name))

    assert found("alpha", "unix:///a.sock") == []
    assert found("beta", "unix:///b.sock") == []
    (problem,) = found("beta", "unix:///a.sock")
    assert problem.startswith("admin_port: port 28501 of that host is asked for by urn:pulumi:test::")
    assert found("beta", "unix:///a.sock", 28502) == []


def test_wrong_places_and_names_of_files_are_said(gateway: Gateway, plugin: Any) -> None:
    wrong = {**gateway.files(gateway.spec([])), "root": "/", "folder": "/x", "files": {"../x": "", "/y": ""}}
    found = plugin.problems("DockerFiles", wrong)
    assert {text.split(": ")[0] for text in found} == {"root", "folder", 'files["../x"]', 'files["/y"]'}


@pytest.fixture
def ssh(layout: Layout, machine: Any) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="isthmus-ssh-") as folder, serve_ssh(layout, Path(folder), machine.engine) as server:
        yield server


def test_a_host_is_reached_over_ssh(plugin: Any, ssh: Any, folder_inputs: Callable[..., Any]) -> None:
    host = {"name": "vm-a", "address": ssh.url, "ssh_options": list(ssh.options)}
    inputs = {**folder_inputs(), "host": host}
    folder = plugin.create("DockerModelFolder", inputs)
    assert plugin.read(folder).outputs["content"] == "complete"
    plugin.delete(folder)


def test_a_host_that_ssh_does_not_reach_is_named_with_ssh_s_own_words(ssh: Any) -> None:
    options = [*ssh.options[:2], "-i", "/dev/null", *ssh.options[4:]]
    with (
        pytest.raises(PlatformError, match=r"host vm-a: cannot reach Docker at ssh://127\.0\.0\.1:\d+: .*Permission denied") as raised,
        connect({"name": "vm-a", "address": ssh.url, "ssh_options": options}),
    ):
        pass
    assert "docker version" in str(raised.value)
