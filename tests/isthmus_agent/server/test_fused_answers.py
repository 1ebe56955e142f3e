"""Devices that answer together: real servers under real managers, on a bus that the test is."""

import http.client
import io
import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.isthmus_agent.contents import MODEL, Served, answered, close_to, eventually, group_content, start, tiny_content

from isthmus_agent.channel import View
from isthmus_agent.core.events import ServeFailed, Serving
from isthmus_agent.core.fusion import Fused, Fusion
from isthmus_agent.formats import bundle, said
from isthmus_agent.formats.fusion_group import FusionGroup, from_value
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.evidence import Evidence

pytestmark = pytest.mark.slow

SEEN = {"door": [[1.0, 0.2, 0.0, 0.5]], "north": [[0.5, 0.6, 0.1, 0.5]], "quay": [[0.9, 0.0, 0.3, 0.5]]}
"""What each view shows of one event."""


def group_of(content: bytes) -> FusionGroup:
    values = bundle.document(io.BytesIO(content), bundle.GATES)
    return from_value(json.loads(values[bundle.GROUP][bundle.GROUP_FILE]))


def fused_of(group: FusionGroup, seen: dict[str, Any]) -> Fused:
    """What `core.fusion` gives for what these views show."""
    fusion = Fusion(group)
    logs = {view: [math.log(it) for it in answered(rows)[0]] for view, rows in seen.items()}
    return fusion.fused({view: fusion.read(fusion.written(view, log)) for view, log in logs.items()})


class Bus:
    """Devices by name, and all that was said among them."""

    def __init__(self) -> None:
        self.devices: dict[str, Served] = {}
        self.evidence: dict[str, Evidence] = {}
        self.said: list[tuple[str, bytes]] = []
        self.is_cut = False

    def publisher(self, name: str) -> Callable[[bytes], bool]:
        def publish(payload: bytes) -> bool:
            self.said.append((name, payload))
            for evidence in () if self.is_cut else self.evidence.values():
                evidence.heard(name, payload)
            return not self.is_cut

        return publish

    def present(self, *names: str) -> None:
        for evidence in self.evidence.values():
            evidence.present(names)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    found = Bus()
    for view in SEEN:
        name = f"at-{view}"
        found.evidence[name] = Evidence(found.publisher(name))
        found.devices[name] = start(tmp_path / name, evidence=found.evidence[name], view=View(name, view))
    yield found
    for served in found.devices.values():
        served.serving.close()


def see(served: Served, event: str | None, rows: Any, **headers: str) -> tuple[int, http.client.HTTPMessage, Any]:
    """Status, headers and document."""
    connection = served.connect()
    more = {it.replace("_", "-"): value for it, value in headers.items()} | ({"X-Isthmus-Event": event} if event is not None else {})
    connection.request("POST", f"/v1/models/{MODEL}:predict", json.dumps({"instances": rows}), more)
    reply = connection.getresponse()
    return reply.status, reply.headers, json.loads(reply.read())


def all_see(bus: Bus, event: str, names: Any = None, **headers: str) -> dict[str, tuple[int, http.client.HTTPMessage, Any]]:
    asked = {name: bus.devices[name] for name in names or bus.devices}
    with ThreadPoolExecutor(len(asked)) as pool:
        futures = {name: pool.submit(see, it, event, SEEN[name.removeprefix("at-")], **headers) for name, it in asked.items()}
        return {name: it.result() for name, it in futures.items()}


def test_one_event_has_one_answer_at_all_devices_and_a_missing_or_strange_one_costs_its_own_word_alone(bus):
    content = group_content()
    group = group_of(content)
    assert all(isinstance(served.serve(content), Serving) for served in bus.devices.values())
    bus.present(*bus.devices)

    wanted = fused_of(group, SEEN)
    for status, headers, document in all_see(bus, "one").values():
        assert (status, headers["X-Isthmus-Answered-By"]) == (200, "group")
        assert headers["X-Isthmus-Heard"] == "door, north, quay"
        assert close_to(document["predictions"], [wanted.probabilities])
    assert len({payload for _, payload in bus.said}) == 3
    assert all(len(payload) <= said.longest(3) for _, payload in bus.said)

    # Who is gone is not waited for: 30 s would be the wait.
    bus.present("at-door", "at-north")
    two = {view: SEEN[view] for view in ("door", "north")}
    for status, headers, document in all_see(bus, "two", ("at-door", "at-north")).values():
        assert (status, headers["X-Isthmus-Heard"]) == (200, "door, north")
        assert close_to(document["predictions"], [fused_of(group, two).probabilities])

    # One that is there and silent is waited for until the request's deadline.
    status, headers, _ = see(bus.devices["at-door"], "three", SEEN["door"], X_Isthmus_Deadline_Ms="60")
    assert (status, headers["X-Isthmus-Heard"]) == (200, "door")
    assert see(bus.devices["at-door"], "three", SEEN["door"])[0] == 409
    assert see(bus.devices["at-door"], "a b", SEEN["door"])[0] == 400
    assert see(bus.devices["at-door"], "four", SEEN["door"] * 2)[0] == 400
    said_so_far = len(bus.said)
    for event, headers in ((None, {}), ("five", {"X_Isthmus_Answer_By": "device"})):
        assert see(bus.devices["at-door"], event, SEEN["door"], **headers)[1]["X-Isthmus-Answered-By"] == "device"
    assert len(bus.said) == said_so_far

    # A device of another release: what it says is in nobody's answer, and counted.
    assert isinstance(bus.devices["at-quay"].serve(group_content(version=2)), Serving)
    bus.present(*bus.devices)
    found = all_see(bus, "six")
    assert found["at-door"][1]["X-Isthmus-Heard"] == found["at-north"][1]["X-Isthmus-Heard"] == "door, north"
    assert found["at-quay"][1]["X-Isthmus-Heard"] == "quay"
    assert bus.devices["at-door"].get("/healthz")[1]["group"]["other_release"] == 1


def test_without_a_bus_a_device_answers_by_itself_at_once(bus):
    served = bus.devices["at-door"]
    bus.is_cut = True
    assert isinstance(served.serve(group_content()), Serving)
    bus.evidence["at-door"].present(())
    status, headers, _ = see(served, "one", SEEN["door"])
    assert (status, headers["X-Isthmus-Heard"]) == (200, "door")


def test_a_group_of_another_release_is_refused_with_its_content_and_one_without_its_view_has_it_answer_alone(bus):
    served = bus.devices["at-door"]
    refused = served.serve(group_content(release="sha256:" + "a" * 64))
    assert isinstance(refused, ServeFailed)
    assert (refused.reason, "the group was measured with" in refused.text) == (Reason.BUNDLE_INVALID, True)
    for content in (group_content(("north", "quay")), tiny_content()):
        assert isinstance(served.serve(content), Serving)
        assert see(served, "one", SEEN["door"])[1]["X-Isthmus-Answered-By"] == "device"
    assert bus.said == []


def test_a_draining_server_still_answers_what_it_was_asked(bus):
    served = bus.devices["at-door"]
    assert isinstance(served.serve(group_content()), Serving)
    bus.evidence["at-door"].present(("at-north",))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(see, served, "one", SEEN["door"])
        assert eventually(lambda: bus.said)
        assert isinstance(served.serve(group_content(version=2)), Serving)
        assert isinstance(bus.devices["at-north"].serve(group_content()), Serving)
        threading.Thread(
            target=see,
            args=(
                bus.devices["at-north"],
                "one",
                SEEN["north"],
            ),
            kwargs={"X_Isthmus_Deadline_Ms": "50"},
        ).start()
        status, headers, _ = answer.result()
    assert (status, headers["X-Isthmus-Heard"]) == (200, "door, north")
