"""Where requests are answered first: by the policy's table alone, once a step, and never where it may not be."""

import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.formats.policy import Measured, Policy
from isthmus_agent.server.router import PROBE_SECONDS, Router

RELEASE = "sha256:" + "a" * 64
NETWORK = Measured("network", "ms", ("good", "cut"), (100_000,), 10_000, 1)
LOAD = Measured("load", "per second", ("low", "high"), (10_000,), 1_000)
STEP_SECONDS = 2.0
PLACES = ("device", "cloud", "peer:gateway")


def policy(table: tuple[int, ...], places: tuple[str, ...] = PLACES, step_ms: int = 2_000) -> Policy:
    """table: for each place, of network × load."""
    return Policy(RELEASE, "*", places, (NETWORK, LOAD), table, step_ms)


BUSY_GOES = policy((0, 1, 0, 0) * 2, ("device", "cloud"))
"""To the cloud where it is good and the load is high; else on the device."""


@dataclass
class Way:
    """A network whose round trip is set. probes: the models of those that were sent."""

    ms: float = math.nan
    probes: list[str] = field(default_factory=list)

    def probe(self, model: str) -> None:
        self.probes.append(model)

    def round_trip_ms(self) -> float:
        return self.ms


def asked(router: Router, now: float) -> str:
    router.count()
    return router.chosen(now)


def rush(router: Router, begin: float, seconds: float, per_second: float) -> list[str]:
    count = round(seconds * per_second)
    return [asked(router, begin + (index + 1) / per_second) for index in range(count)]


def test_work_goes_to_the_cloud_when_the_load_rises_and_comes_back_within_two_steps():
    router = Router(BUSY_GOES, "digits", Way(20.0), 0.0)
    assert set(rush(router, 0, 20, 4)) == {"device"}
    busy = rush(router, 20, 20, 20)
    assert busy.index("cloud") <= 2 * STEP_SECONDS * 20
    assert set(busy[busy.index("cloud") :]) == {"cloud"}
    calm = rush(router, 40, 20, 4)
    assert calm.index("device") <= 2 * STEP_SECONDS * 4
    assert set(calm[calm.index("device") :]) == {"device"}


def test_before_the_first_measurement_the_network_is_taken_for_cut():
    assert set(rush(Router(BUSY_GOES, "digits", Way(), 0.0), 0, 20, 20)) == {"device"}


def test_a_cloud_that_is_away_is_left_at_the_next_step():
    way = Way(20.0)
    router = Router(BUSY_GOES, "digits", way, 0.0)
    assert rush(router, 0, 10, 20)[-1] == "cloud"
    way.ms = math.inf
    assert rush(router, 10, STEP_SECONDS, 20)[-1] == "device"


@pytest.mark.parametrize("per_second", [1, 300])
def test_probes_are_sent_while_requests_come_and_no_faster_than_they_may(per_second: int):
    way = Way(20.0)
    rush(Router(BUSY_GOES, "digits", way, 0.0), 0, 60, per_second)
    assert 60 / PROBE_SECONDS - 2 <= len(way.probes) <= 60 / PROBE_SECONDS + 1
    assert set(way.probes) == {"digits"}


def test_a_load_between_two_levels_moves_nothing_to_and_fro():
    router = Router(BUSY_GOES, "digits", Way(20.0), 0.0)
    rush(router, 0, 10, 20)
    found = [place for turn in range(20) for place in rush(router, 10 + 4 * turn, 4, 9.5 if turn % 2 else 10.5)]
    assert set(found) == {"cloud"}


def test_in_a_good_network_what_is_unsure_is_passed_on_and_where_it_is_cut_it_stays():
    way = Way(20.0)
    router = Router(policy((1, 1, 0, 0) * 2, ("device", "device_then_cloud")), "digits", way, 0.0)
    assert not router.passes_on
    assert rush(router, 0, 10, 4)[-1] == "device_then_cloud"
    assert router.passes_on
    way.ms = math.inf
    assert rush(router, 10, 10, 4)[-1] == "device"
    assert not router.passes_on


def test_a_policy_that_says_nothing_of_passing_on_leaves_it_to_the_threshold():
    assert Router(BUSY_GOES, "digits", Way(20.0), 0.0).passes_on


GAPS = st.lists(st.floats(0.001, 3.0), min_size=1, max_size=80)
TIMES = st.lists(st.sampled_from([math.nan, math.inf, 5.0, 95.0, 105.0, 900.0]), min_size=80, max_size=80)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12), GAPS, TIMES, st.integers(50, 5_000))
def test_whatever_is_measured_the_place_changes_once_a_step_at_most_and_is_one_that_can_be_reached(
    table: list[int], gaps: list[float], times: list[float], step_ms: int
):
    way = Way()
    router = Router(policy(tuple(table), step_ms=step_ms), "digits", way, 0.0)
    now, places = 0.0, ["device"]
    for gap, ms in zip(gaps, times, strict=False):
        now, way.ms = now + gap, ms
        places.append(asked(router, now))
    assert set(places) <= ({"device", "cloud"} if 1 in table else {"device"})
    moves = sum(before != after for before, after in itertools.pairwise(places))
    assert moves <= now * 1000 / step_ms


@settings(deadline=None, max_examples=40)
@given(GAPS, TIMES)
def test_where_the_table_names_peers_the_device_answers(gaps: list[float], times: list[float]):
    way = Way()
    router = Router(policy((2,) * 12), "digits", way, 0.0)
    now = 0.0
    for gap, ms in zip(gaps, times, strict=False):
        now, way.ms = now + gap, ms
        assert asked(router, now) == "device"
