"""Each line once, whatever happens in between."""

import pytest

from isthmus.errors import PlatformError
from isthmus.observing import following
from isthmus.observing.following import container_lines


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.0)


def log_of(*answers):
    """A `read` that gives one answer a call (an exception among them: the connection breaks there), and the calls."""
    calls, left = [], list(answers)

    def read(tail, since):
        calls.append((tail, since))
        for line in left.pop(0):
            if isinstance(line, Exception):
                raise line
            yield line

    return read, calls, left


def test_lines_of_one_second_that_are_read_again_are_shown_once():
    a, b, c = "2026-01-01T00:00:01.1Z a", "2026-01-01T00:00:01.2Z b", "2026-01-01T00:00:01.2Z c"
    read, calls, left = log_of([a, b], [a, b, c], [a, b, c, "2026-01-01T00:00:02.0Z d"])
    assert list(container_lines(read, 5, lambda: bool(left))) == ["a", "b", "c", "d"]
    assert calls == [(5, ""), (None, "2026-01-01T00:00:01.2Z"), (None, "2026-01-01T00:00:01.2Z")]


def test_the_same_text_at_the_same_time_is_two_lines():
    twice = ["2026-01-01T00:00:01.0Z a"] * 2
    read, _, left = log_of(twice, [*twice, twice[0]])
    assert list(container_lines(read, None, lambda: bool(left))) == ["a"] * 3


def test_a_connection_that_breaks_is_made_again_and_said_once():
    away = PlatformError("gone fishing")
    first, second = "2026-01-01T00:00:01.0Z a", "2026-01-01T00:00:02.0Z b"
    read, _, left = log_of([first, away], [away], [first, second])
    assert list(container_lines(read, None, lambda: bool(left))) == ["a", "(gone fishing; trying again)", "b"]


def test_without_following_an_error_is_the_end():
    read, _, _ = log_of([PlatformError("gone fishing")])
    with pytest.raises(PlatformError, match="gone fishing"):
        list(container_lines(read, 1, None))


def test_who_stays_away_for_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(following, "AWAY_SECONDS", -1.0)
    read, _, _ = log_of([PlatformError("away")], [PlatformError("still away")])
    lines = container_lines(read, 1, lambda: True)
    assert next(lines) == "(away; trying again)"
    with pytest.raises(PlatformError, match="still away"):
        next(lines)


def test_a_container_that_has_not_started_says_so_once():
    waiting = " (waiting to start)"
    read, _, left = log_of([waiting], [waiting], ["2026-01-01T00:00:01.0Z a"])
    assert list(container_lines(read, 3, lambda: bool(left))) == ["(waiting to start)", "a"]
