import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.sizing.formulas.simulation import BATCHES, draw_services, response_times, simulate, summarise

times = st.floats(0, 50)


def plainly(gaps, services, servers):
    """The definition, slow: each request takes the server that is free first."""
    free, now, found = [0.0] * servers, 0.0, []
    for gap, length in zip(gaps, services, strict=True):
        now += gap
        server = min(range(servers), key=free.__getitem__)
        free[server] = max(now, free[server]) + length
        found.append(free[server] - now)
    return found


@given(st.lists(st.tuples(times, times), min_size=1, max_size=60), st.integers(1, 5))
def test_every_request_takes_the_server_that_is_free_first(requests, servers):
    gaps, services = np.array(requests).T
    assert response_times(gaps, services, servers) == pytest.approx(plainly(gaps, services, servers), abs=1e-9)


@given(st.lists(times, min_size=1, max_size=60), times, st.integers(1, 5))
def test_constant_service_times_are_computed_without_a_loop_to_the_same_end(gaps, length, servers):
    services = [length] * len(gaps)
    assert response_times(np.array(gaps), np.array(services), servers) == pytest.approx(plainly(gaps, services, servers), abs=1e-9)


@given(st.lists(st.tuples(times, times), min_size=1, max_size=60), st.integers(1, 5))
def test_one_more_server_makes_nobody_slower(requests, servers):
    gaps, services = np.array(requests).T
    assert (response_times(gaps, services, servers + 1) <= response_times(gaps, services, servers) + 1e-9).all()


def test_with_enough_servers_nobody_waits():
    services = np.array([3.0, 1.0, 2.0])
    assert response_times(np.zeros(3), services, 3).tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("scv", [0.0, 0.2, 1.0, 3.0])
def test_drawn_service_times_have_the_moments_that_were_asked_for(scv):
    drawn = draw_services(np.random.default_rng(3), 400_000, 10.0, scv)
    assert drawn.mean() == pytest.approx(10, rel=0.02)
    assert drawn.var() / drawn.mean() ** 2 == pytest.approx(scv, rel=0.05)


def test_the_same_seed_gives_the_same_numbers():
    assert simulate(3, 200, 100, requests=5000) == simulate(3, 200, 100, requests=5000)
    assert simulate(3, 200, 100, requests=5000) != simulate(3, 200, 100, requests=5000, seed=2)


def test_a_longer_run_knows_its_p95_better():
    assert simulate(1, 60, 100, requests=1_000_000).p95_error_ms < simulate(1, 60, 100, requests=10_000).p95_error_ms / 3


@pytest.mark.parametrize(
    ("gaps", "services", "servers"),
    [([], [], 1), ([1.0], [1.0, 2.0], 1), ([1.0], [1.0], 0), ([-1.0], [1.0], 1), ([1.0], [float("nan")], 1), ([float("inf")], [1.0], 1)],
)
def test_input_without_sense_is_refused(gaps, services, servers):
    with pytest.raises(ValueError, match=r"a simulation needs|numbers from 0 on"):
        response_times(np.array(gaps), np.array(services), servers)


@pytest.mark.parametrize("arrivals", [0.0, 300.0, -1.0, float("nan")])
def test_a_queue_that_never_settles_is_not_simulated(arrivals):
    with pytest.raises(ValueError, match="equilibrium"):
        simulate(3, arrivals, 100.0)


def test_a_handful_of_times_is_no_sample():
    with pytest.raises(ValueError, match=f"at least {BATCHES}"):
        summarise(np.ones(BATCHES - 1))
    with pytest.raises(ValueError, match="squared coefficient"):
        draw_services(np.random.default_rng(1), 3, 1.0, -1.0)
