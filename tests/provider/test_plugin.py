"""The plugin's process, and the protocol apart from any resource."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2
from toolchain.testing import patience
from toolchain.testing.wire import CallError

from isthmus.plugin.values import encode

COMPONENTS = Path(__file__).parents[2] / "components"


def test_it_imports_nothing_slow_before_it_is_asked_to_make_something() -> None:
    slow = {"boto3", "tensorflow", "securesystemslib", "pydantic", "numpy"}
    code = (
        "import sys; import isthmus.provider.main as main; from isthmus.plugin.values import UNKNOWN\n"
        "for kind in ('FleetWave', 'LocalDevices'):\n"
        "    handler = main.HANDLERS[f'isthmus:index:{kind}']\n"
        "    assert not handler.check(dict.fromkeys(handler.spec.inputs, UNKNOWN), {}, None)\n"
        f"print({slow} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=COMPONENTS, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_its_schema_has_every_resource(plugin: Any) -> None:
    schema = plugin.schema()
    assert schema["name"] == "isthmus"
    assert "isthmus:index:FleetWave" in schema["resources"]


def test_an_unknown_resource_is_refused(plugin: Any) -> None:
    with pytest.raises(CallError, match="isthmus:index:Nonsense") as error:
        plugin.check("Nonsense", {})
    assert error.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_a_setting_of_the_provider_is_refused_by_name(plugin: Any) -> None:
    reply = plugin.stub.CheckConfig(provider_pb2.CheckRequest(news=encode({"version": "1.0.0", "colour": "red"})))
    assert [failure.property for failure in reply.failures] == ["colour"]


def test_secrets_are_asked_for_as_such_and_kept(plugin: Any) -> None:
    assert plugin.stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    assert plugin.stub.Configure(provider_pb2.ConfigureRequest()).acceptSecrets
    own = plugin.create("LoopbackCertificate", {})
    assert own.secrets == {("certificate",), ("private_key",)}
    assert "PRIVATE KEY" in own.outputs["private_key"]
    credentials = plugin.create("StoreCredentials", {})
    assert credentials.secrets == {("access_key",), ("secret_key",)}


def test_keys_are_made_once_and_unknown_at_preview(plugin: Any) -> None:
    from isthmus.plugin.values import UNKNOWN

    assert plugin.preview("StoreCredentials", {}) == dict.fromkeys(("access_key", "secret_key", "making"), UNKNOWN)
    key = plugin.create("StoreCredentials", {})
    assert plugin.read(key).outputs == key.outputs
    assert plugin.diff(key, {}).changes == provider_pb2.DiffResponse.DIFF_NONE
    plugin.delete(key)


def test_an_import_of_a_secret_says_why_it_cannot_be(plugin: Any) -> None:
    with pytest.raises(grpc.RpcError, match="cannot be imported"):
        plugin.stub.Read(provider_pb2.ReadRequest(id="some", urn=plugin.urn("StoreCredentials", "it")))


def test_a_cancel_ends_a_waiting_handler_and_keeps_what_was_made(
    new_plugin: Callable[[], Any], folder: Path, in_background: Any, eventually: Any
) -> None:
    with new_plugin() as plugin:
        supervisor = plugin.create("LocalSupervisor", {"directory": str(folder / "sv")})
        inputs = {
            "supervisor": str(folder / "sv"),
            "program": "slow",
            "command": ["sleep", "60"],
            "ports": {"http": 0},
            "ready": {"port": "http", "timeout_seconds": 60},
        }
        future = in_background(lambda: plugin.create("LocalProcesses", inputs))
        eventually(lambda: any("waiting for" in text for text in plugin.engine.texts(ephemeral=True)))
        start = time.monotonic()
        plugin.stub.Cancel(empty_pb2.Empty())
        error = future.exception(5)
        assert time.monotonic() - start < patience.scaled(3)
        assert error.outputs["program"] == "slow"
        assert "interrupted" in error.message
    with new_plugin() as plugin:
        plugin.delete(supervisor)


def test_it_ends_when_the_engine_asks(new_plugin: Callable[[], Any]) -> None:
    with new_plugin() as plugin:
        plugin.process.send_signal(signal.SIGTERM)
        assert plugin.process.wait(10) == 0
