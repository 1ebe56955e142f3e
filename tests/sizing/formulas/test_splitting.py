from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.sizing.formulas.allocation import divide_units
from isthmus.sizing.formulas.splitting import Split
from isthmus_agent.core.splitting import count, joined, missing

ranges = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))), max_size=6)


def rows_of(found):
    return [row for start, stop in found for row in range(start, stop)]


@given(st.integers(0, 2**32).map(Random), st.integers(1, 400), st.lists(st.floats(0.1, 50), min_size=1, max_size=5))
def test_every_row_is_done_exactly_once_whatever_is_taken_shared_given_up_or_lost(dice: Random, rows, speeds):
    names = [f"s{i}" for i in range(len(speeds))]
    capacities = dict(zip(names, speeds, strict=True))
    split, in_hand, done, shared = Split([(0, rows)], names), [], [], False
    while not split.is_done:
        steps = ["take", *(["done", "done", "lose"] if in_hand else []), *(["recall"] if shared else ["share"])]
        step = dice.choice(steps)
        if step in ("share", "recall"):
            if step == "recall":
                split.recall()
            split.share(capacities)
            shared = True
        elif step == "take":
            for server in split.servers:
                if taken := split.take(server, dice.randint(1, 90)):
                    in_hand.append((server, taken))
        else:
            server, taken = in_hand.pop(dice.randrange(len(in_hand)))
            if step == "done" or split.servers in ((), (server,)):  # the last one stays
                split.done(server, taken)
                done.append(taken)
            else:
                split.lose(server, taken)
                if shared:
                    split.share(capacities)
    assert sorted(rows_of(done)) == list(range(rows))


def test_rows_are_shared_in_proportion_to_capacity_beside_what_is_in_hand():
    split = Split([(0, 710)], ["a", "b", "c"])
    assert split.take("c", 10) == (0, 10)
    plan = split.share({"a": 4, "b": 2, "c": 1})
    assert plan.parts == divide_units(700, [4, 2, 1], already=[0, 0, 10]).parts
    assert [split.rest(name) for name in "abc"] == [plan.parts[0], plan.parts[1], plan.parts[2] + 10]


def test_what_a_lost_server_had_goes_to_the_others_so_that_they_end_together():
    split = Split([(0, 700)], ["a", "b", "c"])
    split.share({"a": 4, "b": 2, "c": 1})
    taken = split.take("a", 50)
    split.lose("a", taken)
    assert split.free == 400
    split.share({"a": 4, "b": 2, "c": 1})
    assert split.servers == ("b", "c")
    assert split.rest("b") / 2 == pytest.approx(split.rest("c") / 1, abs=2)
    assert split.rest("b") + split.rest("c") == 700


def test_a_lost_server_takes_nothing_more_but_may_end_what_it_has():
    split = Split([(0, 100)], ["a", "b"])
    split.share({"a": 1, "b": 1})
    first, second = split.take("a", 10), split.take("a", 10)
    split.lose("a", first)
    assert split.take("a", 10) is None
    assert split.rest("a") == 10
    split.done("a", second)
    split.share({"b": 1})
    assert split.rest("b") == 90


def test_rows_that_nobody_has_in_hand_cannot_be_done():
    split = Split([(0, 100)], ["a"])
    with pytest.raises(ValueError, match="not in list"):
        split.done("a", (0, 10))


def test_without_a_server_nothing_can_be_shared():
    split = Split([(0, 100)], ["a"])
    split.lose("a", split.take("a", 10))
    with pytest.raises(InputError, match="at least one"):
        split.share({})


@given(ranges)
def test_joined_and_missing_ranges_are_all_rows_once(found):
    have = joined(found)
    assert rows_of(have) == sorted(set(rows_of(found)))
    assert sorted(rows_of(have) + rows_of(missing(found, 50))) == list(range(50))
    assert count(have) + count(missing(found, 50)) == 50
