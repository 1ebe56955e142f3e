"""The counter of a device: it counts what followed what, and stays small."""

import pytest

from isthmus_agent.core import seeing
from isthmus_agent.core.seeing import Seeing
from isthmus_agent.formats import experience
from isthmus_agent.formats.experience import MOST_COUNT, Row
from isthmus_agent.formats.policy import Measured, Policy

POLICY = Policy(
    "sha256:" + "0" * 64,
    "camera",
    ("device", "cloud"),
    (Measured("network", "Mbit/s", ("poor", "good"), (5000,)), Measured("load", "%", ("low", "high"), (70_000,))),
    (0,) * 8,
    20_000,
)


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
    assert sum(len(row) for row in it._counts.values()) == 2
    assert it.experience().rows[0, 1] == Row(20)
