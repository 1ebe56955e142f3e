"""Which looks count: each that came a step after another one, with every level measured."""

import math

import pytest
from tests.isthmus_agent.server.test_router import BUSY_GOES, STEP_SECONDS, Way, rush

from isthmus_agent.core.seeing import tally_from
from isthmus_agent.formats.experience import meaning_of
from isthmus_agent.formats.policy import Measured, Policy
from isthmus_agent.server.looks import Looks
from isthmus_agent.server.router import Router

STEP = BUSY_GOES.step_ms / 1000
KNOWN = {"network": 20.0, "load": 5.0}


def counted(looks: Looks) -> list[list[int]]:
    found = looks.taken()
    return [] if found is None else found["rows"]


def test_each_look_a_step_after_another_is_counted_by_the_place_before_it():
    looks = Looks(BUSY_GOES)
    for index, cell in enumerate([0, 1, 1, 2]):
        looks.looked(index * STEP * 1.2, KNOWN, index % 2, cell)
    assert counted(looks) == [[0, 0, 0, 1, 1], [0, 1, 0, 2, 1], [1, 1, 0, 1, 1]]
    assert counted(looks) == []


def test_what_comes_later_than_the_next_step_followed_nothing():
    looks = Looks(BUSY_GOES)
    for index in range(10):
        looks.looked(index * STEP * 1.6, KNOWN, 0, 0)
    assert counted(looks) == []


def test_as_long_as_a_level_is_only_assumed_nothing_is_counted():
    looks = Looks(BUSY_GOES)
    for index, measured in enumerate([{"network": math.nan, "load": 5.0}, {"network": math.nan}, {"network": 1.0}, {"network": 2.0}, {}]):
        looks.looked(index * STEP, measured, 0, index % 4)
    assert counted(looks) == [[0, 2, 0, 3, 1], [0, 3, 0, 0, 1]]


def test_a_dimension_that_this_device_does_not_measure_keeps_it_from_counting():
    hot = Policy(
        BUSY_GOES.release, "*", ("device", "cloud"), (*BUSY_GOES.dimensions, Measured("mood", "", ("a", "b"), (1,))), (0,) * 16, 2000
    )
    looks = Looks(hot)
    for index in range(5):
        looks.looked(index * STEP, KNOWN, 0, 0)
    assert counted(looks) == []


def test_a_router_counts_what_its_network_and_load_do():
    way = Way(20.0)
    router = Router(BUSY_GOES, "digits", way, 0.0)
    assert router.seen() is None
    rush(router, 0, 10 * STEP_SECONDS, 20)
    way.ms = math.inf
    rush(router, 10 * STEP_SECONDS, 10 * STEP_SECONDS, 4)
    found = router.seen()
    assert found is not None
    assert found["meaning"] == meaning_of(BUSY_GOES)
    counts = {(row[1], following): count for row in found["rows"] for following, count in zip(row[3::2], row[4::2], strict=True)}
    assert sum(counts.values()) == pytest.approx(18, abs=2)
    assert counts[1, 1] > 5 < counts[2, 2]  # good and busy; cut and idle
    assert tally_from(found, "seen").to_value() == found
    assert router.seen() is None


def test_nobody_asks_for_a_day_and_nothing_is_counted():
    router = Router(BUSY_GOES, "digits", Way(20.0), 0.0)
    for day in range(20):
        rush(router, day * 86_400, 1, 1)
    assert router.seen() is None
