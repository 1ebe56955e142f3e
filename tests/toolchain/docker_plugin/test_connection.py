"""Settings of the plugin, and hosts over SSH."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2
from toolchain.docker_engine.hosts import Engine
from toolchain.docker_engine.ssh import serve
from toolchain.prepare.layout import Layout

from isthmus.plugin.bags.bag import Bag
from isthmus.provider.docker.ssh import command

IMAGE = "local/busybox:test"


def test_a_container_is_made_over_ssh_with_the_users_options(
    wires: Callable[[dict[str, Any]], Any], docker_engine: Engine, real_layout: Layout, tmp_path: Path
) -> None:
    with serve(real_layout, tmp_path / "ssh", docker_engine) as server:
        wire = wires({"host": server.url, "sshOpts": list(server.options)})
        job = wire.resource().create({"image": IMAGE, "command": ["echo", "over ssh"], "attach": True, "logs": True, "mustRun": False})
        assert job.state.values["containerLogs"] == "over ssh\n"
        job.delete()
        without_key = wires({"host": server.url, "sshOpts": ["-F", "none", *server.options[4:]]})
        with pytest.raises(
            grpc.RpcError, match=r"Docker at ssh://.* can't be reached: .*[Pp]ermission denied.*Test it with: ssh .* docker version"
        ):
            without_key.resource().create({"image": IMAGE})
    with pytest.raises(grpc.RpcError, match=r"can't be reached: .*Connection refused"):
        wires({"host": server.url, "sshOpts": list(server.options)}).resource().create({"image": IMAGE})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"host": "tcp://10.0.0.1:2375"}, "tcp:// without TLS"),
        ({"host": "10.0.0.1"}, "unix:///path/of/docker.sock"),
        ({"host": "ssh://user:word@vm"}, "ssh://user@host:port"),
        ({"host": "ssh://vm/path"}, "ssh://user@host:port"),
        ({"certPath": "/certs"}, "docker:certPath: is not covered"),
        ({"context": "vm"}, "docker:context: is not covered"),
        ({"registryAuth": '[{"address": "a", "configFile": "b"}]'}, "docker:registryAuth[0].configFile: is not covered"),
    ],
)
def test_settings_that_are_not_covered_are_refused_by_name(wire: Any, settings: dict[str, Any], expected: str) -> None:
    urn = "urn:pulumi:dev::test::pulumi:providers:docker::vm"
    answer = wire.stub.CheckConfig(provider_pb2.CheckRequest(urn=urn, news=Bag(settings).to_struct()))
    assert len(answer.failures) == 1
    assert expected in answer.failures[0].reason
    assert "word" not in answer.failures[0].reason


def test_types_that_are_not_covered_are_refused_by_name(wire: Any) -> None:
    with pytest.raises(grpc.RpcError, match="docker:index/image:Image"):
        wire.resource("docker:index/image:Image").create({"imageName": "a"})


def test_a_host_that_is_not_known_yet_does_not_stop_a_preview(wires: Callable[[dict[str, Any]], Any]) -> None:
    from isthmus.plugin.values import UNKNOWN

    wire = wires({"host": UNKNOWN})
    wire.resource().preview({"image": IMAGE})
    with pytest.raises(grpc.RpcError, match="the Docker host is not known yet"):
        wire.resource().create({"image": IMAGE})


def test_a_users_ssh_options_come_first_and_the_host_cannot_be_an_option() -> None:
    argv = command("ssh://deploy@vm-1:2222", ["-o", "BatchMode=no"])
    assert argv.index("BatchMode=no") < argv.index("BatchMode=yes"), "ssh takes the first"
    assert argv[-5:] == ["--", "vm-1", "docker", "system", "dial-stdio"]
    assert argv[argv.index("-l") + 1] == "deploy"
    assert argv[argv.index("-p") + 1] == "2222"
    for bad in ("ssh://", "ssh://u:p@h", "ssh://h/x"):
        with pytest.raises(ValueError, match="ssh://user@host:port"):
            command(bad, [])
