"""What says that there is no room, and for how long: read within bounds, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS
from isthmus_agent.server.full import full_seconds

HOSTILE = [
    *("-1", "-" + "9" * 400, "+5", "1e3", "0x10", "5.0", "5 5", "5,5", "NaN", "inf", "", " ", "soon", "\x00", "٣", "²", "5\r\nX: y"),
    *("Wed, 21 Oct 2099 07:28:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "x" * 60_000),
]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("00", 0), ("7", 7), (" 7 ", 7), ("007", 7), ("60", 60), ("61", 60), ("1" * 401, 60)]
)
def test_a_number_of_seconds_is_taken_up_to_a_bound(status, text, seconds):
    assert full_seconds(status, text) == seconds
    assert full_seconds(status, "0" * 500 + text.strip()) == seconds


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_number_of_seconds_is_the_usual_pause(status, text):
    assert full_seconds(status, text) == FIRST_PAUSE_SECONDS


@given(st.sampled_from([429, 503]), st.text())
def test_nothing_that_is_said_is_beyond_the_bounds(status, text):
    found = full_seconds(status, text)
    assert found is not None
    assert 0 <= found <= MOST_PAUSE_SECONDS


def test_too_many_requests_says_it_without_a_header_and_unavailable_does_not():
    assert full_seconds(429, None) == FIRST_PAUSE_SECONDS
    assert full_seconds(503, None) is None


@pytest.mark.parametrize("status", [200, 302, 400, 500, 502, 504])
def test_other_answers_say_nothing_of_room(status):
    assert full_seconds(status, "5") is None
