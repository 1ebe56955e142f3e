"""What a device says of its routing: read as it was written, and nothing else is read."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError
from isthmus_agent.formats.report import Routed
from isthmus_agent.formats.routing import ASKED, BREAKERS, OUTCOMES, Level, Routing, read, reported, routed, thousandths

RELEASE = "sha256:" + "a" * 64
SOME = Routing(
    RELEASE,
    "cloud",
    ("device", "cloud"),
    "closed",
    (Level("network", "ms", "good", 14_200), Level("load", "per second", "busy")),
    moves=3,
    totals=dict(zip(OUTCOMES, range(5), strict=True)),
    recent_ms=60_000,
    round_trip_microseconds=14_200,
    policy="{}",
)
COUNTS = st.integers(0, MOST_NUMBER)
PERHAPS = st.none() | COUNTS


@given(
    st.sampled_from(BREAKERS),
    st.lists(COUNTS, min_size=5, max_size=5),
    st.lists(COUNTS, min_size=len(ASKED), max_size=len(ASKED)),
    st.tuples(PERHAPS, PERHAPS),
    st.text(),
)
def test_what_was_written_is_read(breaker, totals, asked, times, policy):
    found = replace(
        SOME,
        breaker=breaker,
        totals=dict(zip(OUTCOMES, totals, strict=True)),
        asked=dict(zip(ASKED, asked, strict=True)),
        round_trip_microseconds=times[0],
        p95_microseconds=times[1],
        policy=policy,
    )
    assert read(found.to_json()) == found


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(lambda it: json.dumps(it).encode())
)
def test_any_other_bytes_are_one_error(content):
    with pytest.raises(FormatError):
        read(content)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"format": 2}, "format"),
        ({"place": "moon"}, "place"),
        ({"places": ["device", "device"]}, "places"),
        ({"places": ["<b>"]}, r"places\[0\]"),
        ({"breaker": "ajar"}, "breaker"),
        ({"moves": -1}, "moves"),
        ({"moves": True}, "moves"),
        ({"recent": {}}, "recent.cloud"),
        ({"levels": [{"name": "network"}]}, r"levels\[0\]"),
        ({"levels": [{"name": "\x1b[31m", "unit": "ms", "level": "good", "thousandths": 1}]}, r"levels\[0\].name"),
        ({"p95_microseconds": -1}, "p95_microseconds"),
        ({"policy": None}, "policy"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, where):
    with pytest.raises(FormatError, match=where):
        read(json.dumps({**json.loads(SOME.to_json()), **change}).encode())


def test_a_number_without_end_is_none():
    assert [thousandths(it) for it in (None, float("inf"), float("nan"), 1.5)] == [None, None, None, 1500]


@pytest.mark.parametrize(("place", "told"), [("device", "device"), ("cloud", "cloud"), ("peer:gateway", "peer:*")])
def test_a_report_has_its_numbers(place, told):
    said = replace(SOME, place=place, places=("device", "cloud", "peer:gateway"))
    found = reported(routed(said), RELEASE)
    assert (found.place, found.breaker, found.totals, found.round_trip_microseconds) == (told, "closed", SOME.totals, 14_200)
    assert (found.levels, found.policy) == ((), "")


def test_a_report_with_numbers_of_a_later_version_is_read_all_the_same():
    assert reported(Routed(place=99, breaker=99), RELEASE).breaker == BREAKERS[-1]
