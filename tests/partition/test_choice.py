"""The fastest way at a bandwidth: the lower envelope of lines, against looking at every line."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.partition.choice import Choice, Way, choose

# Small whole numbers too: among them lines are near each other, and many cross at one point.
MS = st.one_of(st.integers(0, 60).map(float), st.floats(0, 1e4))
BYTES = st.one_of(st.integers(0, 40).map(lambda thousands: thousands * 1e3), st.floats(0.1, 1e7))
WAYS = st.lists(st.builds(Way, st.just("way"), MS, BYTES), min_size=1, max_size=30)
BANDWIDTHS = st.one_of(st.integers(1, 100).map(float), st.floats(1e-3, 1e5))


def _fastest_ms(ways: tuple[Way, ...], bandwidth: float) -> float:
    return min(way.latency_ms(bandwidth) for way in ways)


@given(WAYS, BANDWIDTHS)
def test_no_way_is_faster_than_the_one_of_the_envelope(ways: list[Way], bandwidth: float) -> None:
    choice = choose(ways)
    found = choice.ways[choice.best(bandwidth)].latency_ms(bandwidth)
    assert found <= _fastest_ms(choice.ways, bandwidth) * (1 + 1e-9)


@given(MS, MS, BYTES, WAYS, BANDWIDTHS)
def test_the_choice_is_never_worse_than_the_better_of_the_extremes(
    local_ms: float, cloud_ms: float, input_bytes: float, cuts: list[Way], bandwidth: float
) -> None:
    local, cloud = Way("local", local_ms, 0.0), Way("cloud", cloud_ms, input_bytes)
    choice = choose([local, cloud, *cuts])
    better = min(local.latency_ms(bandwidth), cloud.latency_ms(bandwidth))
    assert choice.ways[choice.best(bandwidth)].latency_ms(bandwidth) <= better * (1 + 1e-9)


@given(WAYS, st.floats(0, 1), st.lists(BANDWIDTHS, min_size=1, max_size=20))
def test_a_way_that_is_kept_is_within_the_margin_of_the_fastest(ways: list[Way], margin: float, trace: list[float]) -> None:
    choice, current = choose(ways, margin), 0
    for bandwidth in trace:
        current = choice.following(current, bandwidth)
        fastest = _fastest_ms(choice.ways, bandwidth)
        assert choice.ways[current].latency_ms(bandwidth) <= fastest * (1 + margin) * (1 + 1e-9) + 1e-9


@given(WAYS, st.floats(0, 1))
def test_a_way_is_left_where_it_takes_the_margin_longer_than_the_fastest(ways: list[Way], margin: float) -> None:
    for piece in choose(ways, margin).pieces:
        for bound in (piece.kept_least, piece.kept_most):
            if 1e-9 < bound < 1e9:
                fastest = _fastest_ms(tuple(ways), bound)
                assert ways[piece.way].latency_ms(bound) == pytest.approx(fastest * (1 + margin), rel=1e-6)


@given(WAYS)
def test_pieces_cover_every_bandwidth_once_and_send_less_where_it_is_small(ways: list[Way]) -> None:
    pieces = choose(ways).pieces
    assert math.isinf(pieces[0].most_megabits_per_second)
    assert pieces[-1].least_megabits_per_second == 0
    for faster, slower in itertools.pairwise(pieces):
        assert faster.least_megabits_per_second == slower.most_megabits_per_second
        assert ways[faster.way].sent_bytes > ways[slower.way].sent_bytes


def test_breakpoints_are_where_two_lines_cross() -> None:
    # 100 ms on the device against 20 ms and 100 kB: at 10 Mbit/s these take 80 ms.
    choice = choose([Way("local", 100, 0), Way("cloud", 20, 100_000)])
    assert [piece.way for piece in choice.pieces] == [1, 0]
    assert choice.pieces[0].least_megabits_per_second == pytest.approx(10)


def _two() -> Choice:
    return choose([Way("local", 100, 0), Way("cloud", 20, 100_000)], margin=0.05)


def test_a_bandwidth_that_swings_about_a_breakpoint_changes_nothing() -> None:
    choice = _two()
    swinging = [9.8, 10.2, 9.7, 10.3] * 5
    assert {choice.best(bandwidth) for bandwidth in swinging} == {0, 1}
    for start in (0, 1):
        assert {choice.following(start, bandwidth) for bandwidth in swinging} == {start}


def test_a_clear_change_of_bandwidth_changes_the_way() -> None:
    choice = _two()
    assert choice.following(0, 50) == 1
    assert choice.following(1, 2) == 0


def test_without_a_connection_all_runs_on_the_device() -> None:
    choice = _two()
    assert choice.ways[choice.following(1, 0.0)].name == "local"


def test_equal_ways_count_once() -> None:
    assert len(choose([Way("a", 1, 5), Way("b", 1, 5)]).pieces) == 1
