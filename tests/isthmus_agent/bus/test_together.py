"""Whole devices in a group: real servers under real managers, and a real broker that is restarted."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.isthmus_agent import tiny_model
from tests.isthmus_agent.bus.brokers import PASSWORDS, RunningBroker, mosquitto_program
from tests.isthmus_agent.contents import routed_content
from tests.isthmus_agent.living import ROWS, Living
from tests.isthmus_agent.yard import PACE, Stream, server_of
from toolchain.testing import patience

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def broker(certificate, tmp_path_factory) -> Iterator[RunningBroker]:
    """Mosquitto, where it is."""
    try:
        mosquitto_program()
        kind = "mosquitto"
    except pytest.skip.Exception:
        kind = "amqtt"
    found = RunningBroker(kind, tmp_path_factory.mktemp(kind), *certificate)
    yield found
    found.kill()


def test_a_program_asks_by_its_devices_gate_and_status_says_with_whom_it_is(yard, content):
    yard.fleet.tell(content(1))
    for name in ("a", "b"):
        yard.join(name)
    yard.wait("a", lambda it: it["state"] == "together" and it["offers_per_1000_seconds"])
    with Stream(yard, "a").flowing() as stream:
        stream.await_more(20)
    assert {status for status, _ in stream.answers.values()} == {200}
    found = yard.state("a")
    assert (found["members"], found["streams"], found["failure"]) == (["b"], {"camera": "a"}, None)
    assert "yard" in yard.devices["a"].ask("status").stdout


def check_all(stream: Stream, weights: np.ndarray) -> None:
    """Each request has its own answer, and one."""
    assert sorted(stream.answers) == list(range(len(stream.answers)))
    for number, (status, found) in stream.answers.items():
        assert status == 200, found
        assert np.allclose(found["predictions"], tiny_model.answer(stream.rows(number), weights), atol=1e-5)


def test_nothing_of_a_stream_is_lost_or_doubled_while_servers_managers_links_and_the_broker_fall(yard, way, content):
    """What falls, in turn: the server that does the stream, the manager of the device that does it, its home's link, the broker."""
    yard.fleet.tell(content(1))
    yard.join("a", port=way.port, offers_per_second=5)  # too little for what it is asked
    for name in ("b", "c"):
        yard.join(name)
    yard.wait("a", lambda it: it["members"] == ["b", "c"] and it["offers_per_1000_seconds"] == 5000)

    def owner() -> str:
        return str(yard.state("a")["streams"].get("camera"))

    with Stream(yard, "a").flowing() as stream:
        first = patience.wait_until(lambda: (it := owner()) in ("b", "c") and it)
        os.kill(server_of(yard.devices[first]), signal.SIGKILL)
        stream.await_more()
        second = patience.wait_until(lambda: (it := owner()) in ("b", "c") and it)
        yard.devices[second].kill()
        killed = time.monotonic()
        (third,) = {"b", "c"} - {second}
        patience.wait_until(lambda: owner() == third, every_seconds=0.02)
        assert time.monotonic() - killed < patience.scaled(PACE["expiry_seconds"] + 1.0)
        stream.await_more()
        way.cut()
        patience.wait_until(lambda: owner() == "a", every_seconds=0.02)
        stream.await_more()
        way.mend()
        patience.wait_until(lambda: owner() == third)
        stream.await_more()
        yard.broker.kill()
        stream.await_more()
        yard.broker.start()
        yard.wait("a", lambda it: it["state"] == "together")
        stream.await_more()
    check_all(stream, tiny_model.WEIGHTS * np.float32(1.1))
    assert yard.state("a")["waiting"] == 0


# Peers as places of the policy

ALWAYS_PEER = routed_content(("device", "peer:big"), (1,) * 8, step_ms=1)
"""Whatever is measured, requests go to a peer."""


def asked(device: Living, **headers: str) -> tuple[int, str | None, Any]:
    """Status, who answered, and what."""
    connection = http.client.HTTPConnection(device.url.removeprefix("http://"), timeout=patience.scaled(30))
    body = json.dumps({"instances": ROWS})
    connection.request("POST", "/v1/models/digits:predict", body, {name.replace("_", "-"): it for name, it in headers.items()})
    reply = connection.getresponse()
    found = reply.status, reply.getheader("X-Isthmus-Answered-By"), json.loads(reply.read())
    connection.close()
    return found


def test_a_peer_of_the_policys_class_answers_and_without_one_the_device_does_in_time(yard):
    yard.fleet.tell(ALWAYS_PEER)
    small = yard.join("a", device_class="small")
    yard.join("c", device_class="small")
    right = tiny_model.answer(ROWS)

    def by(**headers: str) -> str | None:
        status, who, found = asked(small, **headers)
        assert status == 200
        assert np.allclose(found["predictions"], right, atol=1e-5)
        return who

    yard.wait("a", lambda it: it["members"] == ["c"] and it["offers_per_1000_seconds"])
    assert [by() for _ in range(5)] == ["device"] * 5  # c is no such peer
    yard.join("b", device_class="big")
    yard.wait("a", lambda it: it["members"] == ["b", "c"])
    patience.wait_until(lambda: by() == "peer")
    assert by(X_Isthmus_Answer_By="device") == "device"
    done = yard.state("b")["done"]
    assert done > 0
    assert yard.state("c")["done"] == 0
    assert yard.state("a")["answered_by_peers"] == done

    yard.devices["b"].process.send_signal(signal.SIGSTOP)  # it hangs, and nobody says so
    took = []
    for _ in range(12):
        began = time.monotonic()
        assert by(X_Isthmus_Deadline_Ms="400") == "device"
        took.append(time.monotonic() - began)
    assert max(took) < patience.scaled(0.6)
    yard.devices["b"].process.send_signal(signal.SIGCONT)
    patience.wait_until(lambda: by() == "peer")


def test_a_device_whose_inputs_stay_asks_no_peer_whatever_its_policy_says_and_does_others_requests(yard):
    yard.fleet.tell(ALWAYS_PEER)
    small = yard.join("a", device_class="small", inputs="stay_on_device")
    yard.join("b", device_class="big")
    yard.wait("a", lambda it: it["members"] == ["b"] and it["offers_per_1000_seconds"])
    assert {asked(small)[1] for _ in range(5)} == {"device"}
    gate = yard.gate("a")
    assert gate.ask("/peers/big/v1/models/digits:predict", ROWS)[0] == 403
    assert gate.ask("/streams/camera/v1/models/digits:predict", ROWS)[0] == 200
    assert yard.gate("b").ask("/peers/small/v1/models/digits:predict", ROWS)[0] == 200
    assert yard.state("b")["done"] == 0
    assert yard.state("a")["done"] == 2


# What is wrong is a state, and the device serves on


@pytest.mark.parametrize(
    ("password", "state", "why"), [("wrong", "away", "the broker answers: Not authorized"), (PASSWORDS["a"], "alone", "")]
)
def test_what_keeps_a_device_from_its_group_is_said_once_and_it_serves_on(yard, content, password, state, why):
    yard.fleet.tell(content(1))
    device = yard.join("a", password=password)
    found = yard.wait("a", lambda it: it["state"] == state)
    assert (found["failure"] or "").startswith(why)
    device.await_served(content(1))
    assert asked(device)[:2] == (200, "device")
    log = (yard.folder / "a.log").read_text()
    assert log.count("group yard: ") == 1
    shown = device.ask("status").stdout
    assert f"yard: {state}" in shown
    assert why in shown
    for secret in (password, PASSWORDS["a"]):
        assert secret not in log + shown
        assert secret.encode() not in Path(f"/proc/{device.process.pid}/cmdline").read_bytes()
