"""The official SDK and the real Pulumi engine with this plugin: preview, up, refresh, change, destroy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from toolchain.docker_engine.hosts import Engine
from toolchain.docker_plugin.provider import DockerProvider
from toolchain.prepare.package import tarball

PROGRAM = """
import pulumi, pulumi_docker
config = pulumi.Config()
vm = pulumi_docker.Provider("vm", host=config.require("host"))
options = pulumi.ResourceOptions(provider=vm)
image = pulumi_docker.RemoteImage("image", name="local/busybox:test", keep_locally=True, opts=options)
network = pulumi_docker.Network("network", opts=options)
box = pulumi_docker.Container(
    "box",
    image=image.image_id,
    command=["sleep", "1000"],
    envs=[pulumi.Output.secret("KEY=hidden-from-all"), "A=1"],
    memory=config.require_int("memory"),
    ports=[pulumi_docker.ContainerPortArgs(internal=80)],
    networks_advanced=[pulumi_docker.ContainerNetworksAdvancedArgs(name=network.name)],
    opts=options,
)
pulumi.export("name", box.name)
pulumi.export("port", box.ports[0].external)
pulumi.export("address", box.network_datas[0].ip_address)
"""


@pytest.mark.e2e
@pytest.mark.timeout(600)  # the engine starts seven times
def test_a_program_for_the_official_plugin_runs_unchanged(
    engine: Callable[[dict[str, str]], Any], docker_engine: Engine, client: docker.DockerClient, project: Path, tmp_path: Path
) -> None:
    manifest = f"name: test\nruntime: {{name: python, options: {{virtualenv: {project / '.venv'}}}}}\n"
    stack = engine({"Pulumi.yaml": manifest, "__main__.py": PROGRAM})
    archive = tarball(project, "docker", tmp_path / "plugin.tar.gz")
    stack.run("plugin", "install", "resource", "docker", DockerProvider.version, "--file", str(archive))
    stack.run("config", "set-all", "--plaintext", f"host={docker_engine.host}", "--plaintext", "memory=32")

    assert "5 to create" in stack.run("preview").stdout, "the stack, the provider and its three resources"
    assert client.containers.list() == []
    stack.run("up", "--yes", "--skip-preview")
    state = stack.run("stack", "export").stdout
    assert "hidden-from-all" not in state
    outputs = json.loads(state)["deployment"]["resources"][0]["outputs"]
    box = client.containers.get(outputs["name"])
    assert outputs["port"] > 0
    assert outputs["address"] in json.dumps(box.attrs["NetworkSettings"]["Networks"])
    assert "unchanged" in stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").stdout

    box.kill()
    shown = stack.run("up", "--yes", "--skip-preview", "--refresh", "--config", "memory=48", "--diff").stdout
    assert "mustRun" in shown
    box.reload()
    assert (box.status, box.attrs["HostConfig"]["Memory"]) == ("running", 48 << 20), "the stopped container runs again, with its new limit"

    box.remove(force=True)
    assert "1 created" in stack.run("up", "--yes", "--skip-preview", "--refresh").stdout

    stack.run("destroy", "--yes", "--skip-preview")
    assert client.containers.list(all=True) == []
    assert {network.name for network in client.networks.list()} == {"bridge", "host", "none"}
    assert client.images.get("local/busybox:test")
