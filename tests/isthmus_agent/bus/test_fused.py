"""Three devices that see one thing, each from its own side: whole programs, real servers, and a real broker that brings their words."""

import http.client
import json
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.isthmus_agent.bus.brokers import GROUP, PASSWORDS, RunningBroker
from tests.isthmus_agent.contents import VIEWS, group_content
from tests.isthmus_agent.living import Living
from tests.isthmus_agent.server.test_fused_answers import SEEN, fused_of, group_of
from tests.isthmus_agent.yard import Yard
from toolchain.testing import patience

from isthmus_agent.formats import said, topics
from isthmus_agent.formats.topics import Kind

pytestmark = [pytest.mark.slow]

DEVICES = dict(zip("abc", VIEWS, strict=True))
CANARY = 0.73159265
"""That a request holds, and nothing that leaves the device."""


@pytest.fixture(scope="module")
def broker(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    found = RunningBroker("amqtt", tmp_path_factory.mktemp("amqtt"), *certificate)
    yield found
    found.kill()


@pytest.fixture
def overheard(running: RunningBroker, certificate: tuple[Path, Path]) -> Iterator[list[tuple[str, bytes]]]:
    """All that comes to a member of the group that does nothing but listen."""
    import paho.mqtt.client as mqtt

    found: list[tuple[str, bytes]] = []
    spy = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="asks")
    spy.username_pw_set("asks", PASSWORDS["asks"])
    spy.tls_set(str(certificate[0]))
    spy.on_message = lambda _client, _data, message: found.append((message.topic, message.payload))
    spy.on_connect = lambda *_: spy.subscribe([(it, 1) for it in topics.may_read(GROUP, "asks")])
    spy.connect("127.0.0.1", running.port)
    spy.loop_start()
    yield found
    spy.disconnect()
    spy.loop_stop()


def see(device: Living, event: str, rows: Any, deadline_ms: int) -> tuple[int, Mapping[str, str], Any]:
    connection = http.client.HTTPConnection(device.url.removeprefix("http://"), timeout=patience.scaled(30))
    headers = {"X-Isthmus-Event": event, "X-Isthmus-Deadline-Ms": str(deadline_ms)}
    connection.request("POST", "/v1/models/digits:predict", json.dumps({"instances": rows}), headers)
    reply = connection.getresponse()
    found = reply.status, dict(reply.headers), json.loads(reply.read())
    connection.close()
    return found


def there(device: Living) -> set[str]:
    """The others that the device's server knows to be there."""
    return {*device.health()["group"]["there"]}


def all_see(yard: Yard, names: str, event: str, seen: Mapping[str, Any] = SEEN, deadline_ms: int = 20_000) -> list[Any]:
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: see(yard.devices[name], event, seen[DEVICES[name]], deadline_ms), names))


def test_a_group_answers_as_its_fusion_says_and_in_time_without_one_that_was_killed_and_tells_evidence_alone(yard, overheard):
    content = group_content()
    yard.fleet.tell(content)
    with ThreadPoolExecutor(len(DEVICES)) as pool:
        list(pool.map(lambda it: yard.join(it[0], more={"labels": {"view": it[1]}}, inputs="stay_on_device"), DEVICES.items()))
    for name in DEVICES:
        yard.devices[name].await_served(content)
    for name in DEVICES:
        patience.wait_until(lambda name=name: there(yard.devices[name]) == {*DEVICES} - {name}, 20)
    group = group_of(content)

    canaries = {view: [[*rows[0][:3], CANARY]] for view, rows in SEEN.items()}
    for event, seen in (("one", SEEN), ("two", canaries)):
        wanted = fused_of(group, seen)
        for status, headers, document in all_see(yard, "abc", event, seen):
            assert (status, headers["X-Isthmus-Answered-By"], headers["X-Isthmus-Heard"]) == (200, "group", ", ".join(VIEWS))
            assert np.allclose(document["predictions"], [wanted.probabilities], atol=1e-5)

    yard.devices["c"].kill()  # the broker says so at once: the deadline is not what ends the wait
    two = {view: SEEN[view] for view in VIEWS[:2]}
    for status, headers, document in all_see(yard, "ab", "three"):
        assert (status, headers["X-Isthmus-Heard"]) == (200, ", ".join(VIEWS[:2]))
        assert np.allclose(document["predictions"], [fused_of(group, two).probabilities], atol=1e-5)

    # Without a broker a device is alone, and says so as soon as it knows.
    yard.broker.kill()
    status, headers, document = see(yard.devices["a"], "four", SEEN["door"], 20_000)
    assert (status, headers["X-Isthmus-Heard"]) == (200, "door")
    assert np.allclose(document["predictions"], [fused_of(group, {"door": SEEN["door"]}).probabilities], atol=1e-5)

    # What left the devices: words of presence, and evidence of three events, that is as long as it may be.
    assert sum("/told/" in topic for topic, _ in overheard) == 8
    for topic, payload in overheard:
        kind = topics.read(topic, GROUP).kind
        assert kind in {Kind.PRESENCE, Kind.TOLD}
        if kind is Kind.TOLD:
            assert len(payload) <= said.longest(3)
            assert said.decoded(payload).event in {"one", "two", "three"}
    logs = [file.read_bytes() for file in yard.folder.glob("*.log")]
    for left in (*(payload for _, payload in overheard), *logs):
        assert str(CANARY)[:7].encode() not in left
        assert struct.pack("<f", CANARY) not in left
