"""The pace of a wave: no minute has more devices than are allowed, and there are no more minutes than it takes."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from isthmus.fleet.pacing import pace_of, pace_problems
from isthmus_agent.formats.pace import WHOLE_PACE, Pace, pace_draw

DRAWS = st.lists(st.integers(0, WHOLE_PACE - 1), unique=True, max_size=200)


@given(DRAWS, st.integers(1, 50))
def test_in_no_minute_more_begin_than_are_allowed_and_there_are_as_few_minutes_as_can_be(draws: list[int], most: int):
    pace = pace_of(draws, most)
    begin = sorted(pace.later_seconds(it) for it in draws)
    for at in begin:
        assert bisect_left(begin, at + 60) - bisect_left(begin, at) <= most
    assert len(pace.shares) == max(0, -(-len(draws) // most) - 1)
    assert all(later <= pace.seconds for later in begin)


@given(DRAWS, st.integers(1, 50), st.integers(-(10**6), 10**6))
def test_how_far_it_came_is_who_has_begun(draws: list[int], most: int, seconds: int):
    pace = pace_of(draws, most)
    for it in draws:
        has_begun = pace.later_seconds(it) <= max(0, seconds)
        assert (it < pace.reached(seconds)) == has_begun
        assert (pace.after(seconds).later_seconds(it) == 0) == has_begun


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 5))
def test_devices_of_the_same_draw_are_in_the_same_minute_and_the_others_keep_the_limit(draws: list[int], most: int):
    pace = pace_of(draws, most)
    minutes = [pace.later_seconds(it) for it in draws]
    assert all(minutes.count(it) <= most or len({draw for draw in draws if pace.later_seconds(draw) == it}) == 1 for it in minutes)


def test_a_pace_that_takes_longer_than_a_day_is_refused_with_what_would_do():
    pace = pace_of([pace_draw("00", f"camera-{number}") for number in range(2000)], 1)
    [problem] = pace_problems(2000, pace, "waves[0].most_per_minute")
    assert str(problem).startswith("waves[0].most_per_minute: 2,000 devices take 2,000 minutes, and a wave's begin within a day")
    assert "2 or more for so many devices" in str(problem)
    assert pace_problems(2000, Pace(2, pace.shares[:1440]), "") == pace_problems(2000, None, "") == []
