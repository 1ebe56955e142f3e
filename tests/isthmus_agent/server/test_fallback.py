"""Requests that the cloud is asked first: each is answered once, and in time where the cloud says nothing."""

import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.formats.routing import ASKED, CLOSED
from isthmus_agent.protocol import Reply
from isthmus_agent.server.answers import Answer, Check, Due, Later
from isthmus_agent.server.fallback import Fallback

OWN = Answer(Reply(200, b"own"))
NO_CHECK: Check = bytes


class Silent:
    """A cloud that never answers. asked: until when each is waited for."""

    def __init__(self, is_there: bool = True) -> None:
        self.is_there, self.has_more, self.asked, self._numbers = is_there, True, {}, itertools.count()

    def ask(self, model: str, body: bytes, check: Check, due: Due, *, is_needed: bool) -> int | None:
        if not self.is_there:
            return None
        question = next(self._numbers)
        self.asked[question] = math.inf if due.seconds is None else due.began + due.seconds
        return question

    def has_room(self) -> bool:
        return self.has_more

    def hasten(self, question: int, until: float) -> None:
        self.asked[question] = min(self.asked[question], until)

    def probe(self, model: str) -> None: ...

    def round_trip_ms(self) -> float:
        return math.nan

    def breaker(self) -> str:
        return CLOSED

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(ASKED, 0)

    def fileno(self) -> int:
        return -1

    def next_at(self) -> float | None:
        return min(self.asked.values(), default=None)

    def answered(self) -> Iterator[tuple[int, bytes | None]]:
        return iter(())


def played(begins: list[float], deadlines: list[float], own_seconds: float) -> list[float]:
    """When the device is done with each, one after the other, by its own clock."""
    cloud = Silent()
    fallback = Fallback(cloud, None)
    now, done, waits, coming = 0.0, [math.nan] * len(begins), {}, sorted(range(len(begins)), key=lambda it: begins[it])
    while coming or waits:
        late_at = min((cloud.asked[it] for it in waits), default=math.inf)
        if coming and begins[coming[0]] <= max(now, late_at):
            number = coming.pop(0)
            now = max(now, begins[number])
            found = fallback.first("m", b"", NO_CHECK, Due(begins[number], deadlines[number]), own=lambda: OWN, own_seconds=own_seconds)
            assert isinstance(found, Later)
            waits[found.question] = number, found
            continue
        question = min(waits, key=lambda it: cloud.asked[it])
        number, later = waits.pop(question)
        del cloud.asked[question]
        now = max(now, late_at)
        assert later.finish(None) is OWN
        now += own_seconds
        done[number] = now
    assert fallback.unavailable == len(begins)
    return done


@settings(deadline=None, max_examples=150)
@given(st.lists(st.floats(1.0, 4.0), min_size=1, max_size=12), st.integers(1, 12), st.floats(12.0, 40.0))
def test_where_the_cloud_says_nothing_all_are_answered_by_the_device_in_time(gaps: list[float], burst: int, deadline: float):
    begins = [*itertools.accumulate(gaps), *[sum(gaps) + 30] * burst]
    done = played(begins, [deadline] * len(begins), 1.0)
    assert all(end <= begin + deadline + 1e-6 for begin, end in zip(begins, done, strict=True))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.floats(12.0, 90.0), min_size=1, max_size=12))
def test_a_deadline_that_is_nearer_is_answered_first(deadlines: list[float]):
    done = played([0.0] * len(deadlines), deadlines, 1.0)
    assert all(end <= deadline + 1e-6 for deadline, end in zip(deadlines, done, strict=True))


@pytest.mark.parametrize(("seconds", "own_seconds", "is_there"), [(1.0, None, True), (1.0, 0.1, False), (None, None, False)])
def test_the_device_answers_at_once_where_it_is_not_to_wait(seconds: float | None, own_seconds: float | None, is_there: bool):
    fallback = Fallback(Silent(is_there), None, seconds)
    assert fallback.first("m", b"", NO_CHECK, Due(0.0), own=lambda: OWN, own_seconds=own_seconds) is OWN
    assert fallback.answered_by_cloud == 0


def test_what_would_have_to_wait_to_be_asked_the_device_answers():
    cloud = Silent()
    cloud.has_more = False
    fallback = Fallback(cloud, None)
    assert fallback.first("m", b"", NO_CHECK, Due(0.0), own=lambda: OWN, own_seconds=0.1) is OWN
    assert (cloud.asked, fallback.unavailable) == ({}, 0)


def test_an_own_answer_that_fails_late_is_an_answer_all_the_same():
    def fails() -> Answer:
        raise MemoryError

    later = Fallback(Silent(), None).first("m", b"", NO_CHECK, Due(0.0), own=fails, own_seconds=None)
    assert isinstance(later, Later)
    assert later.finish(None).reply.status == 503


def test_what_the_cloud_answers_is_given_on_and_counted():
    fallback = Fallback(Silent(), None)
    later = fallback.first("m", b"", NO_CHECK, Due(0.0), own=lambda: OWN, own_seconds=None)
    assert isinstance(later, Later)
    assert later.finish(b"x").reply.body == b"x"
    assert (fallback.answered_by_cloud, fallback.unavailable) == (1, 0)
