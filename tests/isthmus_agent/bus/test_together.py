"""Whole devices in a group: real servers under real managers, and a real broker that is restarted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.isthmus_agent.bus.brokers import RunningBroker, mosquitto_program
from tests.isthmus_agent.living import Fleet
from tests.isthmus_agent.yard import Stream, Yard

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


@pytest.fixture
def yard(fleet: Fleet, running: RunningBroker, certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[Yard]:
    found = Yard(fleet, running, certificate[0], tmp_path)
    yield found
    found.close()


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
