"""How many servers a track needs, as a law. (Getting them is tested at a real API server, in handlers/kubernetes.)"""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.provider.clusters.capacity import needed

COUNTS = st.integers(1, 200)


@given(stable=COUNTS, canary=COUNTS)
def test_who_has_all_the_traffic_has_the_servers_that_it_needs(stable: int, canary: int) -> None:
    assert needed({"stable": stable, "canary": canary}, {"stable": 100, "canary": 0}) == stable
    assert needed({"stable": stable, "canary": canary}, {"stable": 0, "canary": 100}) == canary


@given(stable=COUNTS, canary=COUNTS, percent=st.integers(1, 99))
def test_it_is_no_more_than_all_that_serve_now_and_no_less_than_the_larger_share_has(stable: int, canary: int, percent: int) -> None:
    found = needed({"stable": stable, "canary": canary}, {"stable": 100 - percent, "canary": percent})
    assert found <= stable + canary
    assert found >= (canary if percent > 50 else stable)


@given(servers=st.integers(1, 100), percent=st.integers(1, 50))
def test_servers_that_are_shared_out_as_the_requests_are_add_up(servers: int, percent: int) -> None:
    wanted = {"stable": servers * (100 - percent), "canary": servers * percent}
    assert needed(wanted, {"stable": 100 - percent, "canary": percent}) == servers * 100


def test_without_servers_nothing_is_known() -> None:
    assert needed({}, {"stable": 100}) == 0
    assert needed({"canary": 3}, {"stable": 100, "canary": 0}) == 0
