import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.formulas.simulation import draw_services, response_times
from isthmus.sizing.mixing import MOST_KINDS, plan_mix
from isthmus.sizing.pooling import LATE, POOL_FACTOR, Pools, ServerKind
from isthmus.sizing.queueing import response_time_quantile_ms, response_time_tail, response_time_tails
from isthmus.sizing.replicas import Demand, plan_replicas

SMALL, MEDIUM, LARGE = ServerKind("small", 40, 0.05), ServerKind("medium", 90, 0.1), ServerKind("large", 200, 0.22, scv=0.3)
prices = st.floats(0.01, 1)
speeds = st.floats(20, 200)
variations = st.sampled_from([0.0, 0.3, 1.0, 2.0])


@st.composite
def servers(draw, most_kinds=3):
    names = "abcd"[: draw(st.integers(1, most_kinds))]
    return [ServerKind(name, draw(speeds), draw(prices), 8, draw(variations)) for name in names]


def planned(demand, kinds, **options):
    try:
        return plan_mix(demand, kinds, **options)
    except GateError:
        return None


def least_by_enumeration(demand, first, second):
    """Two kinds, all counts, all splits on a grid: late requests straight from the formula.

    The limits are tighter by what the planner allows itself to pass over.
    """
    best, allowed = math.inf, LATE * (1 - 3e-4)
    for counts in itertools.product(range(first.max_servers + 1), range(second.max_servers + 1)):
        price = counts[0] * first.price_per_hour + counts[1] * second.price_per_hour
        if price >= best or not any(counts):
            continue
        shares = np.linspace(0, 1, 201)
        late = np.zeros_like(shares)
        for kind, count, share in zip((first, second), counts, (shares, 1 - shares), strict=True):
            rates = share * demand.requests_per_second
            possible = (rates < count * kind.service_rate_per_second * (1 - 1e-9)) | (rates == 0)
            within = np.where(possible, rates, 0)
            if count:
                mu, scv = kind.service_rate_per_second, kind.scv
                late += rates * response_time_tails(demand.p95_ms, count, within, mu, scv)
                possible &= (rates == 0) | (response_time_tails(POOL_FACTOR * demand.p95_ms, count, within, mu, scv) <= allowed)
            late[~possible] = math.inf
        if late.min() <= allowed * demand.requests_per_second:
            best = price
    return best


@settings(max_examples=20)
@given(st.floats(50, 400), st.floats(40, 120), st.tuples(speeds, prices, variations), st.tuples(speeds, prices, variations))
def test_no_mix_of_two_kinds_costs_less(rate, p95_ms, one, other):
    first, second = (ServerKind(name, mu, price, 4, scv) for name, (mu, price, scv) in (("a", one), ("b", other)))
    # A constant service time that is the objective, to the last bit, is for nobody to decide.
    assume(all(abs(p95_ms * kind.service_rate_per_second / 1000 - 1) > 1e-6 or kind.scv for kind in (first, second)))
    demand = Demand(rate, p95_ms)
    plan, best = planned(demand, [first, second]), least_by_enumeration(demand, first, second)
    if plan is None:
        assert best == math.inf
    else:
        assert plan.exact
        # The grid of the enumeration is coarse: it may miss a split, never find one that is not there.
        assert plan.price_per_hour <= best * (1 + 1e-9)


@given(st.floats(20, 900), st.floats(30, 200), servers())
def test_a_mix_keeps_what_it_promises(rate, p95_ms, kinds):
    plan = planned(Demand(rate, p95_ms), kinds)
    if plan is None:
        return
    assert math.fsum(pool.requests_per_second for pool in plan.pools) == pytest.approx(rate, rel=1e-9)
    assert plan.price_per_hour == pytest.approx(sum(pool.servers * pool.kind.price_per_hour for pool in plan.pools))
    assert plan.bound_per_hour <= plan.price_per_hour
    late = 0.0
    for pool in plan.pools:
        mu, scv = pool.kind.service_rate_per_second, pool.kind.scv
        late += pool.requests_per_second * response_time_tail(p95_ms, pool.servers, pool.requests_per_second, mu, scv)
        assert 0 < pool.servers <= pool.kind.max_servers
        assert pool.utilisation < 1
        assert pool.p95_ms <= POOL_FACTOR * p95_ms * (1 + 1e-5)
    assert late <= LATE * rate * (1 + 1e-9)
    assert plan.late_share == pytest.approx(late / rate)


@given(st.floats(20, 2000), st.floats(35, 200), st.sampled_from([0.2, 1.0, 2.0]))
def test_one_kind_alone_is_the_replica_plan(rate, p95_ms, scv):
    kind = ServerKind("only", 100, 0.25, scv=scv)
    plan = planned(Demand(rate, p95_ms), [kind])
    if plan is None:
        with pytest.raises(GateError):
            plan_replicas(Demand(rate, p95_ms), 100, scv=scv)
    else:
        replicas = plan_replicas(Demand(rate, p95_ms), 100, scv=scv)
        assert [pool.servers for pool in plan.pools] == [replicas.replicas]
        assert plan.pools[0].p95_ms == pytest.approx(replicas.p95_ms)


@settings(max_examples=40)
@given(st.floats(20, 600), st.floats(40, 150), servers(2), st.tuples(speeds, prices), st.floats(1.05, 2))
def test_one_more_kind_never_costs_more_and_more_demand_never_costs_less(rate, p95_ms, kinds, extra, growth):
    plan = planned(Demand(rate, p95_ms), kinds)
    if plan is None:
        assert planned(Demand(rate * growth, p95_ms), kinds) is None
        return
    richer = plan_mix(Demand(rate, p95_ms), [*kinds, ServerKind("extra", *extra)])
    assert richer.price_per_hour <= plan.price_per_hour * (1 + 1e-9)
    grown = planned(Demand(rate * growth, p95_ms), kinds)
    assert grown is None or grown.price_per_hour >= plan.price_per_hour * (1 - 1e-9)


@given(st.integers(1, 40), st.floats(0.05, 4), st.floats(20, 300), st.floats(0, 4))
def test_late_requests_are_convex_in_what_a_pool_gets(count, slack, mu, scv):
    """What the split at equal slopes rests on: proven for M/M/c, tested for the approximation."""
    rates = np.linspace(0, 0.98, 60) * count * mu
    late = rates * response_time_tails((1 + slack) * 1000 / mu, count, rates, mu, scv)
    assert np.diff(late, 2).min() >= -2e-4 * late.max()


@given(st.floats(0.001, 0.05))
def test_no_other_split_is_less_late(step):
    demand, kinds, counts = Demand(600, 80), [SMALL, MEDIUM, LARGE], (2, 3, 2)
    pools = Pools(demand, kinds, work=0)
    split, late = pools.judge(counts)

    def late_share(rates):
        return sum(
            rate * response_time_tail(demand.p95_ms, count, rate, kind.service_rate_per_second, kind.scv)
            for rate, count, kind in zip(rates, counts, kinds, strict=True)
        ) / 600  # fmt: skip

    assert late_share(split) == pytest.approx(late)
    for giver, taker in itertools.permutations(range(3), 2):
        other = split.copy()
        other[giver] -= step * 600
        other[taker] += step * 600
        if other.min() >= 0 and all(r < c * k.service_rate_per_second for r, c, k in zip(other, counts, kinds, strict=True)):
            assert late_share(other) >= late * (1 - 1e-3)


def test_the_planned_mix_keeps_the_objective_in_a_simulation_and_the_next_smaller_one_does_not():
    demand, kinds = Demand(700, 80), [SMALL, MEDIUM, LARGE]
    plan = plan_mix(demand, kinds)
    assert len(plan.pools) > 1

    def simulated_late(rates_and_counts):
        late = total = 0
        for seed, (kind, count, rate) in enumerate(rates_and_counts):
            random = np.random.default_rng(seed)
            requests = int(rate * 600)
            services = draw_services(random, requests, 1000 / kind.service_rate_per_second, kind.scv)
            seen = response_times(random.exponential(1000 / rate, requests), services, count)
            late, total = late + (seen > demand.p95_ms).sum(), total + requests
        return late / total

    # 10 % of the late ones: what the simulation itself is sure to.
    assert simulated_late([(pool.kind, pool.servers, pool.requests_per_second) for pool in plan.pools]) <= LATE * 1.1
    largest = max(plan.pools, key=lambda pool: pool.servers)
    fewer = {pool.kind.name: pool.servers - (pool is largest) for pool in plan.pools}
    split, late = Pools(demand, kinds, 0).judge([fewer.get(kind.name, 0) for kind in kinds])
    assert late > LATE
    assert split.sum() < 700 or simulated_late(
        [(kind, fewer[kind.name], rate) for kind, rate in zip(kinds, split, strict=True) if rate]
    ) > LATE  # fmt: skip


def test_a_search_that_is_cut_short_still_gives_a_mix_and_what_it_can_prove():
    demand, kinds = Demand(900, 80), [SMALL, MEDIUM, LARGE]
    whole, cut = plan_mix(demand, kinds), plan_mix(demand, kinds, work=1)
    assert (whole.exact, cut.exact) == (True, False)
    assert cut.bound_per_hour <= whole.price_per_hour <= cut.price_per_hour
    assert f"no mix costs less than {cut.bound_per_hour:.4g}/h" in cut.explain()
    assert "least cost" in whole.explain()


def test_no_pool_is_sacrificed_for_the_average():
    """Without a bound of its own the cheap server would be fed to the full and all of its requests be late."""
    plan = plan_mix(Demand(1000, 120), [SMALL, ServerKind("large", 200, 0.2)])
    assert max(pool.p95_ms for pool in plan.pools) <= POOL_FACTOR * 120 * (1 + 1e-5)
    mixed = [pool for pool in plan.pools if pool.kind is SMALL]
    assert mixed, "this is the case in which the small server is worth having"
    assert response_time_quantile_ms(0.95, 1, 39.9, 40) > POOL_FACTOR * 120  # what it would come to at full load


def test_the_explanation_has_every_pool_with_its_numbers():
    text = plan_mix(Demand(1000, 60), [ServerKind("old", 50, 0.02, 8), ServerKind("new", 120, 0.2, 40, 0.3)]).explain()
    for part in ("8 old + 6 new: 1.36/h (least cost)", "within 60 ms", "old: 8 servers of 50/s get", "utilisation"):
        assert part in text


def test_too_few_servers_are_refused_with_the_least_that_would_do():
    old, new = ServerKind("old", 50, 0.02, 8), ServerKind("new", 120, 0.2, 4)
    with pytest.raises(GateError) as caught:
        plan_mix(Demand(1000, 60), [old, new], path="services.digits")
    (problem,) = caught.value.problems
    assert problem.path == "services.digits.servers"
    found = re.fullmatch(r"(\d+) old servers instead of 8", problem.expected)
    needed = int(found[1])
    assert plan_mix(Demand(1000, 60), [ServerKind("old", 50, 0.02, needed), new])
    assert planned(Demand(1000, 60), [ServerKind("old", 50, 0.02, needed - 1), new]) is None


def test_an_objective_below_every_kind_is_refused_with_the_least_that_would_do():
    with pytest.raises(GateError, match=r"14\.98 ms at p95 on large.*relax p95_ms"):
        plan_mix(Demand(200, 10), [SMALL, ServerKind("large", 200, 0.2)])


def test_a_kind_that_is_too_slow_by_far_is_not_used():
    plan = plan_mix(Demand(200, 50), [ServerKind("slow", 2, 0.0001), ServerKind("large", 200, 0.2)])
    assert [pool.kind.name for pool in plan.pools] == ["large"]


@pytest.mark.parametrize("rate", [6e7, 1e12])
def test_a_million_servers_are_refused(rate):
    with pytest.raises(GateError, match="too many for all the servers"):
        plan_mix(Demand(rate, 120), [ServerKind("small", 40, 0.05, 10**6), ServerKind("medium", 90, 0.1, 10**6)])


def test_a_thousand_servers_of_two_kinds_are_answered():
    plan = plan_mix(Demand(1e5, 120), [ServerKind("small", 40, 0.05, 10**6), ServerKind("medium", 90, 0.1, 10**6)])
    assert plan.price_per_hour < 111.3


def test_everything_that_is_wrong_is_said_at_once():
    bad = ServerKind("bad", float("nan"), 0.0, 0, -1.0)
    with pytest.raises(GateError) as caught:
        plan_mix(Demand(-1, float("inf")), [bad, SMALL, SMALL])
    assert [problem.path for problem in caught.value.problems] == [
        "requests_per_second", "p95_ms", "servers", "servers.bad.service_rate_per_second", "servers.bad.price_per_hour",
        "servers.bad.max_servers", "servers.bad.scv",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, MOST_KINDS + 1])
def test_no_kinds_and_too_many_kinds_are_refused(count):
    with pytest.raises(GateError, match=f"{count} kinds of server"):
        plan_mix(Demand(10, 100), [ServerKind(f"k{i}", 100, 1) for i in range(count)])
