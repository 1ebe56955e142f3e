"""The roster is read as it was written, and what is odd is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import JSON, rosters

from isthmus_agent.formats import report, roster
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.roster import Device, Roster

SOUND = Roster("cameras", (Device("a", "small", {"site": "x"}), Device("b", "large", {}, 2)))


@given(rosters)
def test_what_is_read_is_what_was_written(it):
    assert roster.from_json(it.to_json()) == it


@given(JSON.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=100))
def test_nothing_but_the_one_error_is_raised_for_any_content(content):
    with pytest.raises(FormatError):
        roster.from_json(content)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"name":"b"', b'"name":"a"', "the same name twice"),
        (b'"name":"b"', b'"name":"A"', "not in the order"),
        (b'"generation":2', b'"generation":2.0', "no fraction"),
        (b'"generation":2', b'"generation":true', r"devices\[1\]\.generation"),
        (b'"generation":2', b'"generation":2,"generation":2', "twice"),
        (b'"class":"large"', b'"class":"*"', r"devices\[1\]\.class"),
        (b'"site":"x"', b'"site":"\\u001b[2J"', r"devices\[0\]\.labels\.site"),
    ],
)
def test_what_is_wrong_is_said(old, new, said):
    with pytest.raises(FormatError, match=said):
        roster.from_json(SOUND.to_json().replace(old, new))


def test_a_device_joins_moves_and_leaves():
    moved = SOUND.with_device(Device("a", "large")).with_device(Device("aa", "small"))
    assert [device.name for device in moved.devices] == ["a", "aa", "b"]
    assert moved.by_name()["a"].device_class == "large"
    assert moved.without("b").devices == moved.devices[:2]


def test_a_devices_report_key_follows_from_the_fleets_secret_and_the_roster():
    assert SOUND.devices[1].report_key(b"s" * 32, "cameras") == report.device_key(b"s" * 32, "cameras", "b", 2)
