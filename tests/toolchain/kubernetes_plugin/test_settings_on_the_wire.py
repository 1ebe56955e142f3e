"""Settings through the started plugin; there is no API server in these tests."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2
from toolchain.testing import patience

from isthmus.plugin.values import UNKNOWN, decode, encode

pytestmark = pytest.mark.slow  # a plugin for each of them

MAIN = Path(__file__).parents[3] / "toolchain" / "kubernetes_plugin" / "__main__.py"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
INPUTS = {"metadata": {"name": "it", "namespace": "default"}, "data": {"a": "1"}}


def kubeconfig(server: str, **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}, {"name": "d", "cluster": {"server": "https://elsewhere.invalid"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "u", "namespace": "mine"}} for name in ("c", "d")],
        "current-context": "c",
    }


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def plugin(wire: Any, tmp_path: Path) -> Iterator[Any]:
    with wire.run_plugin(MAIN, {"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}) as plugin:
        yield plugin


def reasons(plugin: Any, settings: dict[str, Any]) -> list[str]:
    return [failure.reason for failure in plugin.stub.CheckConfig(provider_pb2.CheckRequest(news=encode(settings))).failures]


def test_settings_that_are_covered_are_taken(plugin: Any) -> None:
    covered = {
        "namespace": "a",
        "context": "b",
        "cluster": "c",
        "enableServerSideApply": "true",
        "deleteUnreachable": "true",
        "version": "4",
    }
    assert reasons(plugin, covered) == []
    assert reasons(plugin, {"kubeconfig": json.dumps(kubeconfig("https://x")), "kubeClientSettings": '{"qps": 5}'}) == []


@pytest.mark.parametrize(
    "settings", [{"enableServerSideApply": "false"}, {"renderYamlToDirectory": "x"}, {"skipUpdateUnreachable": "true"}]
)
def test_settings_that_are_not_covered_are_refused_by_name(plugin: Any, settings: dict[str, Any]) -> None:
    [reason] = reasons(plugin, settings)
    assert reason.startswith(next(iter(settings)))
    assert "official plugin" in reason


def replaced(plugin: Any, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return list(plugin.stub.DiffConfig(provider_pb2.DiffRequest(olds=encode(old), news=encode(new))).replaces)


def test_another_cluster_replaces_everything_and_another_user_nothing(plugin: Any) -> None:
    first = {"kubeconfig": json.dumps(kubeconfig("https://one", token="a"))}
    assert replaced(plugin, first, {"kubeconfig": json.dumps(kubeconfig("https://one", token="b"))}) == []
    assert replaced(plugin, first, {"kubeconfig": json.dumps(kubeconfig("https://two", token="a"))}) == ["kubeconfig"]
    assert replaced(plugin, first, {**first, "context": "d"}) == ["context"]
    assert replaced(plugin, first, {"kubeconfig": UNKNOWN}) == ["kubeconfig"]
    named = {**first, "clusterIdentifier": "x"}
    assert replaced(plugin, named, {**named, "kubeconfig": json.dumps(kubeconfig("https://two"))}) == []


def test_a_cluster_that_cannot_be_reached_is_told_in_one_line_with_server_and_context(plugin: Any, wire: Any, closed_port: int) -> None:
    plugin.configure({"kubeconfig": json.dumps(kubeconfig(f"http://127.0.0.1:{closed_port}", token="hidden-token"))})
    with pytest.raises(wire.CallError) as caught:
        plugin.preview(CONFIG_MAP, INPUTS)
    assert caught.value.message.startswith(f"the Kubernetes API server at http://127.0.0.1:{closed_port} (context c) does not answer: ")
    assert "Connection refused" in caught.value.message
    assert "\n" not in caught.value.message
    start = time.monotonic()
    with pytest.raises(wire.CallError, match="does not answer"):
        plugin.check(CONFIG_MAP, {})
    assert time.monotonic() - start < patience.scaled(2)  # the next resource does not wait as long


def test_resources_of_a_cluster_that_is_gone_can_be_dropped(plugin: Any, wire: Any, closed_port: int) -> None:
    plugin.configure({"kubeconfig": json.dumps(kubeconfig(f"http://127.0.0.1:{closed_port}")), "deleteUnreachable": "true"})
    inputs = encode({"apiVersion": "v1", "kind": "ConfigMap", **INPUTS})
    made = wire.Resource(CONFIG_MAP, "it", "default/it", inputs, inputs)
    assert plugin.read(made) is None
    plugin.delete(made)


def test_a_cluster_that_is_not_made_yet_is_no_obstacle_at_preview(plugin: Any) -> None:
    plugin.configure({"kubeconfig": UNKNOWN})
    assert plugin.preview(CONFIG_MAP, {"data": {"a": "1"}})["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no kubeconfig"),
        ({"kubeconfig": "clusters:\n- {name: hidden-value"}, "no valid YAML"),
        ({"kubeconfig": "a: b\n"}, "kubeconfig cannot be used"),
        ({"kubeconfig": json.dumps(kubeconfig("https://x")), "context": "other"}, "kubeconfig cannot be used.*other"),
        ({"kubeconfig": json.dumps(kubeconfig("https://x")), "cluster": "other"}, "kubeconfig cannot be used.*other"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_without_its_content(plugin: Any, wire: Any, settings: Any, message: str) -> None:
    plugin.configure(settings)
    with pytest.raises(wire.CallError, match=message) as caught:
        plugin.preview(CONFIG_MAP, INPUTS)
    assert "hidden" not in caught.value.message


def test_the_namespace_of_the_context_is_the_default_one(plugin: Any, wire: Any) -> None:
    plugin.configure({"kubeconfig": json.dumps(kubeconfig("https://x"))})
    checked = decode(plugin.check(CONFIG_MAP, INPUTS).inputs)[0]
    assert checked["metadata"] == INPUTS["metadata"]


def test_it_starts_quickly(wire: Any) -> None:
    start = time.monotonic()
    with wire.run_plugin(MAIN):
        assert time.monotonic() - start < patience.scaled(10)  # 0.7 s on an idle machine
