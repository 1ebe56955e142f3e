"""The base on the wire, with a plugin that only these tests know."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2
from toolchain.testing import patience

from isthmus.plugin.values import decode, encode

BOX = "fake:index:Box"
KEY = frozenset({("key",)})


@pytest.fixture(scope="module")
def plugin(wire: Any) -> Iterator[Any]:
    with wire.run_plugin(Path(__file__).with_name("fake_plugin.py")) as plugin:
        plugin.configure()
        yield plugin


def test_inputs_and_defaults_come_back_as_they_were_with_their_secrets(plugin: Any) -> None:
    inputs = {"key": "sesame", "__defaults": ["size"], "list": [1, {"a": None}]}
    made = plugin.create(BOX, inputs, secrets=KEY)
    assert made.id == "box-1"
    assert made.outputs["__inputs"]["__defaults"] == ["size"]
    assert made.outputs["list"] == [1, {"a": None}]
    assert made.secrets == {("key",), ("__inputs", "key")}


@pytest.mark.parametrize(("mode", "code"), [("fails", "FAILED_PRECONDITION"), ("crashes", "INTERNAL"), ("refused", "UNIMPLEMENTED")])
def test_what_a_handler_raises_becomes_one_message_without_secrets(plugin: Any, wire: Any, mode: str, code: str) -> None:
    with pytest.raises(wire.CallError) as caught:
        plugin.create(BOX, {"key": "sesame", "mode": mode}, secrets=KEY)
    assert caught.value.code == getattr(grpc.StatusCode, code)
    assert "sesame" not in caught.value.message
    assert "sesame" not in plugin.engine.text


def test_a_half_made_resource_is_handed_over_with_its_state_and_its_inputs(plugin: Any, wire: Any) -> None:
    with pytest.raises(wire.CallError) as caught:
        plugin.create(BOX, {"key": "sesame", "mode": "half"}, secrets=KEY)
    assert caught.value.id == "box-1"
    assert caught.value.reasons == ["the key [secret] is bent"]
    assert decode(caught.value.state)[1] == {("key",), ("__inputs", "key")}
    assert decode(caught.value.inputs)[0]["mode"] == "half"


def test_a_problem_does_not_show_a_secret(plugin: Any) -> None:
    assert plugin.problems(BOX, {"key": "sesame", "lid": "bad"}, secrets=KEY) == ["lid: does not fit [secret]"]


def test_the_engines_name_is_taken_and_without_one_the_seed_decides(plugin: Any) -> None:
    proposed = provider_pb2.CheckRequest.AutonamingOptions(proposed_name="mine-123")
    assert decode(plugin.check(BOX, {}, autonaming=proposed).inputs)[0]["name"] == "mine-123"
    first, second = (decode(plugin.check(BOX, {}).inputs)[0]["name"] for _ in range(2))
    assert first == second
    assert first.startswith("it-")
    disabled = provider_pb2.CheckRequest.AutonamingOptions(mode=provider_pb2.CheckRequest.AutonamingOptions.DISABLE)
    assert decode(plugin.check(BOX, {}, autonaming=disabled).inputs)[0]["named"] is False


def test_a_change_says_whether_it_replaces_and_ignored_ones_are_left_out(plugin: Any) -> None:
    made = plugin.create(BOX, {"size": 1, "color": "red"})
    found = plugin.diff(made, {"size": 2, "color": "blue"})
    assert found.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(found.replaces) == ["size"]
    assert found.deleteBeforeReplace
    kept = plugin.diff(made, {"size": 2, "color": "blue"}, ignored=["size"])
    assert list(kept.detailedDiff) == ["color"]
    assert not kept.deleteBeforeReplace


def test_read_tells_gone_from_not_working(plugin: Any, wire: Any) -> None:
    made = plugin.create(BOX, {"size": 1})
    assert plugin.read(made).outputs == made.outputs
    made.id = "gone"
    assert plugin.read(made) is None
    made.id = "rusty"
    with pytest.raises(wire.CallError) as caught:
        plugin.read(made)
    assert caught.value.reasons == ["rusty"]


def test_what_is_not_covered_is_refused_by_name(plugin: Any, wire: Any) -> None:
    with pytest.raises(wire.CallError, match=r"the resource type fake:index:Sphere.*official plugin"):
        plugin.check("fake:index:Sphere", {})
    with pytest.raises(grpc.RpcError, match="the function fake:index:find"):
        plugin.stub.Invoke(provider_pb2.InvokeRequest(tok="fake:index:find"))
    with pytest.raises(grpc.RpcError, match="the component fake:index:Boxes"):
        plugin.stub.Construct(provider_pb2.ConstructRequest(type="fake:index:Boxes"))


def test_settings_are_decoded_and_the_engines_own_are_left_out(plugin: Any, wire: Any) -> None:
    news = encode({"version": "1", "flag": "true", "list": json.dumps([1]), "text": "plain", "odd": "[half"})
    reasons = [failure.reason for failure in plugin.stub.CheckConfig(provider_pb2.CheckRequest(news=news)).failures]
    assert sorted(reasons) == ["flag: True", "list: [1]", "odd: '[half'", "text: 'plain'"]
    found = plugin.stub.DiffConfig(provider_pb2.DiffRequest(olds=encode({"text": "a"}), news=encode({"text": "b"})))
    assert list(found.replaces) == ["text"]
    with pytest.raises(wire.CallError, match="wrong: \\[secret\\]"), wire.raised():
        plugin.stub.Configure(provider_pb2.ConfigureRequest(args=encode({"wrong": "secret-text"}, {("wrong",)})))


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_waiting_ends_when_the_engine_asks_to_stop(wire: Any, how: str) -> None:
    with wire.run_plugin(Path(__file__).with_name("fake_plugin.py")) as plugin:
        plugin.configure()
        errors: list[Any] = []

        def create() -> None:
            try:
                plugin.create(BOX, {"mode": "waits"})
            except wire.CallError as error:
                errors.append(error)

        waiting = threading.Thread(target=create)
        waiting.start()
        deadline = patience.Deadline(30)
        while "making it" not in plugin.engine.text:
            assert not deadline.over()
            time.sleep(0.02)
        if how == "cancel":
            plugin.stub.Cancel(empty_pb2.Empty())
        else:
            plugin.process.send_signal(signal.SIGINT)
        waiting.join(30)
        assert [error.code for error in errors] == [grpc.StatusCode.CANCELLED]
        if how == "cancel":
            assert plugin.stub.GetPluginInfo(empty_pb2.Empty()).version == "1.2.3"  # it still serves
        else:
            assert plugin.process.wait(30) == 0  # the engine has nothing more to say
