"""The way a device takes: never one that another beats by more than the margin, and none of which nothing is known."""

import math

from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.core.ways import LEAST_SEEN_BYTES, SAMPLES, Chooser, Rate, Seen
from isthmus_agent.formats.halves import Halves, Tensor, Way

MS = 1000


def _way(number: int, head_ms: float, cloud_ms: float, sent_bytes: int) -> Way:
    tensor = Tensor("x", "uint8", (1, sent_bytes))
    return Way(f"head_{number}", f"tail_{number}", (tensor,), False, round(head_ms * MS), round(cloud_ms * MS), sent_bytes)


WAYS = Halves("", 10 * MS, 50_000, (_way(1, 1, 2, 100_000), _way(2, 5, 1, 4_000)))
TIMES = st.floats(0.01, 1e4)


@given(st.lists(st.tuples(TIMES, TIMES, st.floats(1e-7, 1.0)), min_size=1, max_size=8))
def test_the_way_that_is_taken_is_within_the_margin_of_the_fastest(seen: list[tuple[float, float, float]]) -> None:
    chooser = Chooser(WAYS)
    for own_ms, trip_ms, ms_per_byte in seen:
        now = Seen(own_ms, trip_ms, ms_per_byte)
        taken = chooser.latency_ms(chooser.look(now), now)
        assert taken <= 1.05 * min(chooser.latency_ms(way, now) for way in (None, 0, 1)) * (1 + 1e-9)


@given(TIMES, TIMES, st.floats(1e-7, 1.0))
def test_a_rate_that_swings_about_a_crossing_changes_nothing(own_ms: float, trip_ms: float, ms_per_byte: float) -> None:
    chooser, low = Chooser(WAYS), Seen(own_ms, trip_ms, ms_per_byte)
    chooser.look(low)
    first = chooser.look(Seen(own_ms, trip_ms, ms_per_byte * 1.02))
    assert {chooser.look(Seen(own_ms, trip_ms, ms_per_byte * factor)) for factor in (1.0, 1.02) * 5} <= {first, chooser.way}


def test_each_way_is_the_fastest_at_some_rate() -> None:
    found = [Chooser(WAYS).look(Seen(80.0, 5.0, 8 / (1000 * rate))) for rate in (1000.0, 8.0, 0.1)]
    assert found == [0, 1, None]


def test_a_head_that_has_run_counts_with_what_it_took_here() -> None:
    assert Chooser(WAYS).look(Seen(80.0, 5.0, 8e-6)) == 0
    assert Chooser(WAYS).look(Seen(80.0, 5.0, 8e-6, head_ms={0: 90.0})) == 1
    assert Chooser(WAYS).look(Seen(80.0, 5.0, 8e-6, head_ms={0: 90.0, 1: 90.0})) is None


def test_what_is_not_measured_leaves_all_on_the_device() -> None:
    for seen in (Seen(math.nan, 1.0, 1e-6), Seen(80.0, math.nan, 1e-6), Seen(80.0, 1.0, math.nan), Seen(80.0, math.inf, 1e-6)):
        assert Chooser(WAYS).look(seen) is None


def test_a_way_that_comes_too_late_is_none() -> None:
    assert Chooser(WAYS).look(Seen(1000.0, 5.0, 8e-6, most_ms=100.0)) is None
    assert Chooser(WAYS).look(Seen(1000.0, 5.0, 8e-6, most_ms=1000.0)) == 0


def test_the_network_is_looked_at_by_the_fewest_bytes_that_tell_something() -> None:
    assert Chooser(WAYS).smallest == 1
    few = Halves("", 1, 0, (_way(1, 1, 1, LEAST_SEEN_BYTES), _way(2, 1, 1, 10)))
    assert Chooser(few).smallest == 0


def test_one_slow_answer_of_three_moves_nothing() -> None:
    rate = Rate()
    assert math.isnan(rate.ms_per_byte)
    rate.sent(10_000, 500.0, 1.0)
    for _ in range(2):
        rate.sent(10_000, 11.0, 1.0)
    assert (rate.ms_per_byte, rate.is_known) == (1e-3, True)
    assert rate.sent(10_000, 900.0, 1.0)
    assert rate.ms_per_byte == 1e-3
    assert not rate.sent(10_000, 11.0, 1.0)


def test_a_late_answer_is_believed_at_once_and_never_makes_the_network_better() -> None:
    rate = Rate()
    for _ in range(SAMPLES):
        rate.sent(10_000, 11.0, 1.0)
    rate.was_late(10_000, 1001.0, 1.0)
    assert rate.ms_per_byte == 0.1
    rate.was_late(10_000, 2.0, 1.0)
    assert rate.ms_per_byte == 0.1


def test_a_few_bytes_say_nothing_where_something_is_known() -> None:
    rate = Rate()
    for _ in range(SAMPLES):
        rate.sent(10_000, 11.0, 1.0)
    assert rate.over_ms == 0
    assert not rate.sent(10, 50.0, 1.0)
    assert rate.ms_per_byte == 1e-3


def test_what_a_few_bytes_take_beyond_the_plan_is_the_ways_own_and_is_forgotten_with_larger_ones() -> None:
    rate = Rate()
    for _ in range(SAMPLES):
        rate.sent(10_000, 11.0, 1.0)
    for _ in range(SAMPLES):
        rate.sent(1000, 22.0, 1.0)
    assert (rate.over_ms, rate.ms_per_byte) == (20.0, 1e-3)
    for _ in range(SAMPLES):
        rate.sent(10_000, 31.0, 1.0)
    assert rate.over_ms == 0
