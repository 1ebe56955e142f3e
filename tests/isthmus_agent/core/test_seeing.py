"""The counter of a device: it counts what followed what, stays small, and hands over what it has counted once."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.channel import MOST_MESSAGE_BYTES
from isthmus_agent.core import seeing
from isthmus_agent.core.seeing import Seeing, Tally, tally_from
from isthmus_agent.formats import experience
from isthmus_agent.formats.experience import MOST_COUNT, Row
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import Measured, Policy
from isthmus_agent.server.looks import MOST_TAKEN

POLICY = Policy(
    "sha256:" + "0" * 64,
    "camera",
    ("device", "cloud"),
    (Measured("network", "Mbit/s", ("poor", "good"), (5000,)), Measured("load", "%", ("low", "high"), (70_000,))),
    (0,) * 8,
    20_000,
)
LOOKS = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 1), st.integers(0, 3))), max_size=60)


def test_transitions_are_counted_by_the_place_before_them():
    it = Seeing(POLICY)
    for _ in range(20):
        it.saw(0, 1)
        it.saw(1, 2)
    found = it.experience()
    assert found.rows == {(0, 1): Row(0, {2: 20}), (1, 2): Row(0, {1: 20})}  # the nineteen are told as twenty
    assert (found.places, found.cells, found.device_class) == (2, 4, "camera")
    assert found.meaning == experience.meaning_of(POLICY)
    assert experience.read(found.written()) == found


def test_what_comes_after_a_gap_followed_nothing():
    it = Seeing(POLICY)
    for _ in range(20):
        it.saw(0, 1)
        it.missed()
    assert it.experience().rows == {}
    assert it.taken(MOST_TAKEN) is None


def test_a_place_or_a_cell_that_there_is_not_is_refused():
    for place, cell in ((2, 0), (-1, 0), (0, 4), (0, -1)):
        with pytest.raises(ValueError, match="no place"):
            Seeing(POLICY).saw(place, cell)


def test_a_count_never_goes_beyond_what_can_be_told_and_its_row_keeps_its_proportions(monkeypatch):
    monkeypatch.setattr(seeing, "MOST_COUNT", 1000)
    it = Seeing(POLICY)
    for step in range(20_000):
        it.saw(0, 1 if step % 4 == 0 else 0)
    row = it.experience().rows[0, 0]
    assert max(row.counts.values()) <= 1000
    assert row.counts[0] / row.counts[1] == pytest.approx(2, rel=0.05)
    assert MOST_COUNT > 1000


def test_with_more_transitions_than_there_is_room_for_the_rest_is_counted_together(monkeypatch):
    monkeypatch.setattr(seeing, "MOST_COUNTS", 1)
    it = Seeing(POLICY)
    for cell in [0, 0, 1, 2, 3] * 20:
        it.saw(0, cell)
    assert sum((len(row) - 3) // 2 for row in it.taken(MOST_TAKEN)["rows"]) == 2
    for cell in [0, 0, 1, 2, 3] * 20:
        it.saw(0, cell)
    assert it.experience().rows[0, 1] == Row(20)


@settings(deadline=None, max_examples=60)
@given(LOOKS, st.lists(st.integers(0, 59), max_size=5), st.integers(1, 4))
def test_what_is_handed_over_in_parts_adds_up_to_what_was_counted(looks, handed_at, most):
    whole, parts, kept = Seeing(POLICY), Seeing(POLICY), Tally.of(POLICY)
    for index, look in enumerate(looks):
        for it in (whole, parts):
            it.missed() if look is None else it.saw(*look)
        if index in handed_at and (found := parts.taken(most)) is not None:
            kept.add_all(tally_from(json.loads(json.dumps(found)), "seen"))
    while (found := parts.taken(most)) is not None:
        assert sum((len(row) - 3) // 2 for row in found["rows"]) <= most
        kept.add_all(tally_from(found, "seen"))
    assert kept.to_value() == (whole.taken(10_000) or Tally.of(POLICY).to_value())
    assert tally_from(kept.to_value(), "seen").to_value() == kept.to_value()


def test_the_largest_part_fits_into_a_message_to_the_manager():
    largest = Tally("sha256:" + "f" * 64, "c" * 63, 64, 512)
    for index in range(MOST_TAKEN):
        largest.add((63 - index // 400, 511 - index), 511, MOST_COUNT - 1)
        largest._add_rest((63 - index // 400, 511 - index), MOST_COUNT)
    figures = {"what": "measured", **dict.fromkeys("abcdefgh", 2**53), "seen": largest.to_value()}
    assert len(json.dumps(figures)) < MOST_MESSAGE_BYTES


GOOD = {"meaning": "sha256:" + "0" * 64, "class": "*", "places": 2, "cells": 4, "rows": [[0, 1, 3, 2, 5]]}


@pytest.mark.parametrize(
    "change",
    [
        {"meaning": "0"},
        {"class": 1},
        {"places": 0},
        {"places": True},
        {"cells": 513},
        {"rows": [[0, 1, 3, 2]]},
        {"rows": [[2, 1, 3]]},
        {"rows": [[0, 4, 3]]},
        {"rows": [[0, 1, 3, 4, 5]]},
        {"rows": [[0, 1, 3, 2, 0]]},
        {"rows": [[0, 1, 3, 2, 2_000_000]]},
        {"rows": [[0, 1, 3, 2, 1.5]]},
        {"rows": [[0, 1, -1]]},
        {"rows": [[0, 1]]},
        {"rows": [[0, 1, 3]] * 9},
        {"rows": {}},
        {"more": 1},
    ],
)
def test_what_no_server_says_is_refused(change):
    assert tally_from(GOOD, "seen").to_value() == GOOD
    with pytest.raises(FormatError):
        tally_from({**GOOD, **change}, "seen")


def test_nothing_that_is_none_is_read():
    for value in (None, [], "x", 1, {}):
        with pytest.raises(FormatError):
            tally_from(value, "seen")
