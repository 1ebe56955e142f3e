"""A device whose bundle has a migration policy: real servers under a real manager, and a cloud role that can be told what to do."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.isthmus_agent.clouds import CloudRole, hangs, right, says, with_status
from tests.isthmus_agent.contents import Served, eventually, routed_content, start, tiny_content
from tests.isthmus_agent.server.test_asking import SURE, UNSURE, ask
from toolchain.testing import patience

from isthmus_agent.channel import Fallback
from isthmus_agent.core.events import ServeFailed, Serving
from isthmus_agent.formats.report import Reason

pytestmark = pytest.mark.slow

PLACES = ("device", "cloud")
ALWAYS_CLOUD = (1, 1, 1, 1) * 2
WHEN_BUSY = (0, 1, 0, 0) * 2
Begin = Callable[..., tuple[Served, CloudRole]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    ends: list[Callable[[], None]] = []

    def make(
        answer: Any = right,
        timeout_seconds: float = 20.0,
        asks: bool = True,
        follows_policy: bool = True,
        min_confidence: float = 0.0,
    ) -> tuple[Served, CloudRole]:
        role = CloudRole(with_status(answer))
        fallback = Fallback(role.url, min_confidence, timeout_seconds, follows_policy=follows_policy)
        served = start(tmp_path / "slots", fallback=fallback if asks else None)
        ends.extend((served.serving.close, role.stop))
        return served, role

    yield make
    for end in ends:
        end()


def posts(role: CloudRole) -> int:
    return sum(it.method == "POST" for it in role.asked)


def test_work_moves_to_the_cloud_when_the_load_rises_and_comes_back(begin):
    served, role = begin()
    digest = served.serve(routed_content(PLACES, WHEN_BUSY)).digest
    connection = served.connect()
    assert ask(served, SURE, connection)[1] == "device"
    assert eventually(lambda: [ask(served, SURE, connection)[1] for _ in range(20)][-1] == "cloud")
    assert eventually(lambda: time.sleep(0.2) or ask(served, SURE, connection)[1] == "device")
    served.serving.measure(digest)
    served.told()
    assert served.serving.counts.answered_by_cloud == posts(role)
    assert served.serving.counts.cloud_unavailable == served.serving.counts.errors == 0
    assert all(it.body == b"" for it in role.asked if it.method == "GET")


def test_a_device_that_was_not_told_to_follow_the_policy_passes_on_what_is_unsure_alone(begin):
    served, role = begin(follows_policy=False)
    served.serve(routed_content(PLACES, ALWAYS_CLOUD))
    assert [ask(served, SURE)[1] for _ in range(5)] == ["device"] * 5
    assert role.asked == []


def test_what_the_cloud_does_not_answer_the_device_does_within_the_deadline_and_goes_home(begin):
    served, role = begin(timeout_seconds=0.4)
    served.serve(routed_content(PLACES, WHEN_BUSY, busy=5))
    connection = served.connect()
    assert eventually(lambda: ask(served, SURE, connection)[1] == "cloud")
    role.answer = with_status(hangs)
    took = []
    for _ in range(12):
        began = time.monotonic()
        assert ask(served, SURE, connection, X_Isthmus_Deadline_Ms="200")[:2] == (200, "device")
        took.append(time.monotonic() - began)
    assert max(took) < patience.scaled(0.35)
    asked = posts(role)
    assert eventually(lambda: ask(served, SURE, connection)[1] == "device" and posts(role) == asked)


@pytest.mark.parametrize(("place", "by"), [("device", "device"), ("device_then_cloud", "cloud")])
def test_what_is_unsure_is_passed_on_where_the_policy_says_so_alone(begin, place, by):
    served, role = begin(min_confidence=0.8)
    places = ("device", "device_then_cloud")
    served.serve(routed_content(places, (places.index(place),) * 8))
    connection = served.connect()
    assert eventually(lambda: ask(served, UNSURE, connection)[1] == by)
    assert [ask(served, rows, connection)[1] for rows in (UNSURE, SURE, UNSURE)] == [by, "device", by]
    assert posts(role) == (0 if by == "device" else posts(role))


@pytest.mark.parametrize("answer", [says({"error": "x"}, 500), says({}, 503, more="Retry-After: 5\r\n")])
def test_a_cloud_that_fails_or_is_full_costs_no_answer(begin, answer):
    served, role = begin()
    served.serve(routed_content(PLACES, ALWAYS_CLOUD))
    connection = served.connect()
    assert eventually(lambda: ask(served, SURE, connection)[1] == "cloud")
    role.answer = with_status(answer)
    assert [ask(served, SURE, connection)[:2] for _ in range(10)] == [(200, "device")] * 10


def test_a_request_that_is_wrong_is_not_passed_on_and_one_that_is_for_here_stays(begin):
    served, role = begin()
    served.serve(routed_content(PLACES, ALWAYS_CLOUD))
    connection = served.connect()
    assert eventually(lambda: ask(served, SURE, connection)[1] == "cloud")
    asked = posts(role)
    assert ask(served, [[1.0]], connection)[0] == 400
    assert ask(served, UNSURE, connection, X_Isthmus_Answer_By="device")[1] == "device"
    assert posts(role) == asked


def test_a_device_that_asks_nobody_asks_nobody_whatever_its_policy_says(begin):
    served, role = begin(asks=False)
    served.serve(routed_content(PLACES, ALWAYS_CLOUD))
    assert {ask(served, SURE)[1] for _ in range(5)} == {"device"}
    assert role.connections == 0


@pytest.mark.parametrize("places", [("cloud",), PLACES])
def test_a_policy_for_another_release_or_without_the_device_is_refused_and_the_release_before_goes_on(begin, places):
    served, _ = begin()
    assert isinstance(served.serve(tiny_content()), Serving)
    other = "sha256:" + "a" * 64 if places == PLACES else ""
    table = (0,) * 4 * len(places)
    unfit = served.serve(routed_content(places, table, release=other))
    assert isinstance(unfit, ServeFailed)
    assert unfit.reason is Reason.BUNDLE_INVALID
    assert "policy" in unfit.text
    assert ask(served, SURE)[1] == "device"
