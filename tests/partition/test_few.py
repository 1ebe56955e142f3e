"""The few ways that are served: near the fastest of all wherever the network is, and no more than needed."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.partition.choice import Way
from isthmus.partition.few import MOST_INSIDE, few

SWEEP = (0.1, 1.0, 10.0, 100.0, 1000.0)
LINES = st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(1, 1e6)), min_size=2, max_size=10)


def _latencies(lines: list[tuple[float, float]]) -> list[list[float]]:
    """All on the device first, then all in the cloud."""
    ways = [Way("local", lines[0][0], 0.0), *(Way("", fixed, sent) for fixed, sent in lines[1:])]
    return [[it.latency_ms(at) for it in ways] for at in SWEEP]


@given(LINES)
def test_with_one_more_way_nothing_gets_slower_and_there_are_few(lines: list[tuple[float, float]]) -> None:
    latencies = _latencies(lines)
    found = few(latencies, 0, (1,))
    assert len(set(found) - {1}) <= MOST_INSIDE
    assert 0 not in found
    for row in latencies:
        assert min(row[way] for way in (0, *found)) <= row[0]


@given(LINES.filter(lambda it: len(it) <= 2 + MOST_INSIDE))
def test_where_few_ways_are_enough_the_fastest_is_among_them_everywhere(lines: list[tuple[float, float]]) -> None:
    latencies = _latencies(lines)
    found = few(latencies, 0, (1,))
    for row in latencies:
        assert min(row[way] for way in (0, *found)) <= 1.01 * min(row) * (1 + 1e-9)


def test_a_device_that_is_fastest_everywhere_is_left_alone() -> None:
    assert few(_latencies([(1.0, 0.0), (5.0, 10.0), (6.0, 5.0)]), 0, (1,)) == ()


def test_a_way_that_is_asked_for_is_served_in_its_best_form() -> None:
    assert few(_latencies([(1.0, 0.0), (5.0, 10.0), (6.0, 500.0), (6.0, 100.0)]), 0, (1,), needed=(2, 3)) == (1, 3)


def test_one_form_of_all_in_the_cloud_is_enough_and_is_there_beside_any_cut() -> None:
    assert len(few(_latencies([(1e6, 0.0), (1.0, 1e5), (20.0, 1e3)]), 0, (1, 2))) == 1
    assert few(_latencies([(1e6, 0.0), (9.0, 1e5), (8.0, 1e6), (1.0, 1.0)]), 0, (1, 2)) == (1, 3)
