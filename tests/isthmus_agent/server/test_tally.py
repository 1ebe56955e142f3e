"""What became of requests: each is counted once, by who answered, and the last minute by itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats.routing import OUTCOMES, RECENT_SECONDS, Routing
from isthmus_agent.protocol import Reply, RestError
from isthmus_agent.server.answers import BY_CLOUD, BY_DEVICE, Answer, Later
from isthmus_agent.server.tally import Tally

RELEASE = "sha256:" + "a" * 64
OWN, CLOUDS, FAILS = (Answer(Reply(status, b"{}"), by) for status, by in ((200, BY_DEVICE), (200, BY_CLOUD), (500, "")))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def said(tally: Tally) -> Routing:
    return tally.routing(RELEASE, None, None)


def counted(tally: Tally) -> dict[str, int]:
    return {name: count for name, count in said(tally).totals.items() if count}


def raises(error: BaseException) -> Callable[[], Answer]:
    def fail() -> Answer:
        raise error

    return fail


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (OWN, {"here": 1}),
        (FAILS, {"failed": 1}),
        (Answer(Reply(400, b"{}")), {}),
        (Later(0, lambda _: CLOUDS, is_first=True), {"cloud": 1}),
        (Later(0, lambda _: OWN, is_first=True), {"here": 1}),
        (Later(0, lambda _: CLOUDS), {"passed_on": 1}),
        (Later(0, lambda _: FAILS), {"failed": 1}),
        (Answer(Reply(200, b"{}"), "X-Isthmus-Answered-By: peer\r\n"), {"peer": 1}),
        (Answer(Reply(200, b"{}"), "X-Isthmus-Answered-By: group\r\nX-Isthmus-Heard: north\r\n"), {"here": 1}),
    ],
)
def test_each_request_is_counted_by_who_answered_it(found, counts):
    tally = Tally()
    followed = tally.followed(lambda: found)
    if isinstance(followed, Later):
        assert counted(tally) == {}
        followed.finish(None)
    assert counted(tally) == counts


@pytest.mark.parametrize(
    ("error", "counts"), [(RestError(400, "x"), {}), (RestError(503, "x"), {"failed": 1}), (MemoryError(), {"failed": 1})]
)
def test_what_is_raised_goes_on_and_is_counted_where_it_is_no_fault_of_the_request(error, counts):
    tally = Tally()
    with pytest.raises(type(error)):
        tally.followed(raises(error))
    assert counted(tally) == counts


def test_times_are_those_that_who_asks_waits():
    clock = Clock()
    tally = Tally(clock)
    later = tally.followed(lambda: Later(0, lambda _: CLOUDS, is_first=True))
    clock.now += 0.25
    later.finish(None)
    assert said(tally).p95_microseconds == pytest.approx(250_000, rel=0.04)
    clock.now += 2 * RECENT_SECONDS
    assert said(tally).p95_microseconds is None


@given(st.lists(st.floats(0.0, 400.0), max_size=60))
def test_the_last_minute_has_what_came_in_it_and_no_more(gaps):
    clock = Clock()
    tally = Tally(clock)
    came = []
    for gap in gaps:
        clock.now += gap
        tally.followed(lambda: OWN)
        came.append(clock.now)
        found = said(tally)
        assert 0 <= found.recent_ms <= 1000 * RECENT_SECONDS
        since = clock.now - found.recent_ms / 1000
        assert found.recent["here"] >= sum(it > since + 0.001 for it in came)
        assert found.recent["here"] <= sum(it >= since - 0.001 for it in came)
        assert found.totals["here"] == len(came)
        assert set(found.recent) == set(found.totals) == set(OUTCOMES)
