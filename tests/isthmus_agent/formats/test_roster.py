"""The roster is read as it was written, and what is odd is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import JSON, rosters

from isthmus_agent.formats import report, roster
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.roster import Device, Pending, Roster

WAITING = Pending(Device("c", "small"), "ab" * 32, 1_800_000_000)
SOUND = Roster("cameras", (Device("a", "small", {"site": "x"}), Device("b", "large", {}, 2)), (WAITING,), {"z": 4})


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
        (b'"class":"large"', b'"class":"?"', r"devices\[1\]\.class"),
        (b'"expires":1800000000', b'"expires":-1', r"pending\[0\]\.expires"),
        (b'"claim":"ab', b'"claim":"AB', r"pending\[0\]\.claim"),
        (b'"z":4', b'"z":-1', "removed"),
        (b'"z":4', b'"../z":4', "removed"),
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


def test_a_device_joins_when_its_token_was_used():
    joined = SOUND.joined("c")
    assert ([device.name for device in joined.devices], joined.pending) == (["a", "b", "c"], ())
    again = SOUND.with_pending(Pending(Device("b", "large", {}, 3), "cd" * 32, 1))
    assert [device.generation for device in again.devices] == [0, 2]
    assert [device.generation for device in again.joined("b").devices] == [0, 3]


def test_no_generation_of_a_name_is_given_twice():
    assert [SOUND.next_generation(name) for name in ("new", "a", "b", "c", "z")] == [0, 1, 3, 1, 5]
    for gone in (SOUND.without("b").without("c"), SOUND.joined("c").without("c").without("b"), SOUND.without_pending("c").without("b")):
        assert (gone.next_generation("b"), gone.next_generation("c"), len(gone.pending)) == (3, 1, 0)


def test_a_devices_report_key_follows_from_the_fleets_secret_and_the_roster():
    assert SOUND.devices[1].report_key(b"s" * 32, "cameras") == report.device_key(b"s" * 32, "cameras", "b", 2)
