from hypothesis import given
from hypothesis import strategies as st

from isthmus.canary.evidence import Counters, Tally
from isthmus.names import CANARY, STABLE

increments = st.builds(
    lambda refused, errors, good, edges: Counters(good + errors + refused, errors, refused, edges),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 50),
    st.dictionaries(st.sampled_from([1.0, 2.0, 10.0]), st.integers(1, 9)),
)


def total(parts: list[Counters]) -> Counters:
    return sum(parts, Counters())


@given(st.lists(st.tuples(increments, increments), max_size=8), increments)
def test_a_tally_is_what_was_added_since_it_began(steps: list[tuple[Counters, Counters]], before: Counters) -> None:
    now = {STABLE: before, CANARY: before}
    tally = Tally().observe("a", now)
    for stable, canary in steps:
        now = {STABLE: now[STABLE] + stable, CANARY: now[CANARY] + canary}
        tally = tally.observe("a", now)
    assert tally.total[STABLE] == total([stable for stable, _ in steps])
    assert tally.total[CANARY] == total([canary for _, canary in steps])


@given(increments, increments, increments)
def test_a_restart_loses_nothing_that_was_seen(first: Counters, second: Counters, after: Counters) -> None:
    high = Counters(10_000, 100, 100)
    tally = Tally().observe("a", {CANARY: high}).observe("a", {CANARY: high + first})
    tally = tally.observe("a", {CANARY: after}).observe("a", {CANARY: after + second})
    assert tally.total[CANARY] == first + after + second


@given(increments, increments)
def test_gateways_add_up_and_one_that_goes_keeps_its_part(one: Counters, other: Counters) -> None:
    zero = {CANARY: Counters()}
    tally = Tally().observe("a", zero).observe("b", zero).observe("a", {CANARY: one}).observe("b", {CANARY: other})
    assert tally.total[CANARY] == one + other
    assert tally.observe("c", {CANARY: one}).total == tally.total
    assert tally.observe("c", {CANARY: one}, from_zero=True).total[CANARY] == one + other + one


@given(st.dictionaries(st.integers(1, 200).map(float), st.integers(1, 50), min_size=1), st.integers(1, 200).map(float))
def test_a_p95_within_a_limit_is_at_most_five_percent_beyond_it(times: dict[float, int], limit: float) -> None:
    counted = Counters(times=times)
    within = counted.quantile_ms(0.95) <= limit
    assert within == (counted.slower_than(limit) * 100 <= 5 * counted.timed)


def test_nothing_counted_has_no_quantile() -> None:
    assert Counters().quantile_ms(0.95) == 0.0
