"""Many devices' experiences merged: in any order the same, towards the truth, and no device beyond its bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.migration_processes import process

from isthmus.errors import InputError
from isthmus.migration.learning import merging
from isthmus.migration.learning.beliefs import SURPRISE
from isthmus.migration.learning.merging import experienced, learned_process
from isthmus.migration.learning.stream import PLACES, stream
from isthmus.migration.learning.traces import traces
from isthmus.migration.solve import evaluate, solve
from isthmus_agent.core.seeing import Seeing
from isthmus_agent.formats import experience
from isthmus_agent.formats.experience import Experience, Row
from isthmus_agent.formats.policy import Measured, Policy

PROCESS = process(1)
PLACE_COUNT, CELL_COUNT = PROCESS.shape
MEANING = "sha256:" + "a" * 64


def told(rows, meaning=MEANING, device_class="camera"):
    return Experience(meaning, device_class, PLACE_COUNT, CELL_COUNT, rows)


ROWS = st.dictionaries(
    st.tuples(st.integers(0, PLACE_COUNT - 1), st.integers(0, CELL_COUNT - 1)),
    st.builds(Row, st.integers(0, 5000), st.dictionaries(st.integers(0, CELL_COUNT - 1), st.integers(10, 5000), max_size=4)),
    max_size=5,
)


@settings(deadline=None, max_examples=20)
@given(st.lists(ROWS, min_size=1, max_size=5), st.randoms())
def test_the_order_of_devices_and_of_their_documents_makes_no_difference(listed, dice):
    devices = {f"d{index}": [told(rows), told(rows)] for index, rows in enumerate(listed)}
    shuffled = list(devices.items())
    dice.shuffle(shuffled)
    first, second = (learned_process(PROCESS, MEANING, it) for it in (devices, dict(shuffled)))
    assert np.array_equal(first.process.transition, second.process.transition)
    assert (first.devices, first.transitions) == (second.devices, second.transitions)
    assert np.allclose(first.process.transition.sum(axis=1), 1)


@settings(deadline=None, max_examples=20)
@given(ROWS, st.integers(1, 1000))
def test_no_device_counts_for_more_than_its_bound_in_any_row(rows, most):
    merged = learned_process(PROCESS, MEANING, {"liar": [told(rows)]}, prior_weight=20, most_a_row=most)
    prior = (1 - SURPRISE) * PROCESS.transition + SURPRISE / CELL_COUNT
    moved = np.abs(merged.process.transition - prior).sum(axis=1) / 2
    assert (moved <= most / (most + 20) + 1e-9).all()
    assert merged.transitions <= most * CELL_COUNT


def test_a_hundred_honest_devices_outweigh_one_that_lies():
    honest = {f"d{index}": [told({(0, 0): Row(0, {0: 90, 1: 10})})] for index in range(100)}
    liar = {"liar": [told({(0, 0): Row(0, {5: 1_000_000})})] * 50}
    found = learned_process(PROCESS, MEANING, {**honest, **liar}, most_a_row=200).process.transition[0]
    assert found[5] < 0.03
    assert found[0] == pytest.approx(0.9, abs=0.03)


def test_nothing_told_leaves_the_plan_as_good_as_it_was():
    merged = learned_process(PROCESS, MEANING, {})
    assert np.allclose(merged.process.transition, (1 - SURPRISE) * PROCESS.transition + SURPRISE / CELL_COUNT)
    assert (merged.devices, merged.transitions) == (0, 0)


def test_what_is_told_without_saying_where_is_spread_over_the_cells_that_are_not_told_as_the_plan_has_them():
    merged = learned_process(PROCESS, MEANING, {"d": [told({(0, 0): Row(1000, {0: 1000})})]}, prior_weight=1e-6).process.transition[0]
    prior = ((1 - SURPRISE) * PROCESS.transition + SURPRISE / CELL_COUNT)[0]
    assert merged[0] == pytest.approx(0.5)
    assert np.allclose(merged[1:], 0.5 * prior[1:] / prior[1:].sum())


def test_experiences_of_other_cells_or_of_several_classes_are_all_told_at_once():
    other = Experience(MEANING, "door", 2, CELL_COUNT, {})
    with pytest.raises(InputError) as caught:
        learned_process(PROCESS, MEANING, {"a": [told({}, meaning="sha256:" + "b" * 64)], "b": [told({}), other]})
    assert [problem.path for problem in caught.value.problems] == ["experiences.a[0].meaning", "experiences.b[1]", "experiences"]


def policy(device_class="camera"):
    dimensions = tuple(Measured(it.name, "x", it.levels, tuple(range(len(it.levels) - 1))) for it in PROCESS.dimensions)
    return Policy("sha256:" + "0" * 64, device_class, PROCESS.places, dimensions, (0,) * PLACE_COUNT * CELL_COUNT, 20_000)


def test_documents_of_other_classes_are_left_out_and_bad_ones_are_all_told():
    meaning = experience.meaning_of(policy())
    rows = {(0, 0): Row(0, {0: 50})}
    own, other = (told(rows, meaning, device_class).written() for device_class in ("camera", "door"))
    merged = experienced(PROCESS, policy(), {"a": own, "b": other})
    assert (merged.devices, merged.transitions) == (1, 50)
    with pytest.raises(InputError) as caught:
        experienced(PROCESS, policy(), {"a": own, "b": b"{}", "c": told(rows).written(), "d": b"\xff"})
    assert [problem.path for problem in caught.value.problems] == ["experiences.b", "experiences.d", "experiences.c[0].meaning"]


def test_a_day_of_five_devices_told_as_it_may_be_told_makes_nearly_the_best_policy():
    planned, truth, meaning, documents = of_a_day(5)
    merged = learned_process(planned, meaning, documents)
    best = solve(truth).value.mean()
    assert evaluate(truth, solve(planned).next_place).mean() / best > 1.1
    assert evaluate(truth, solve(merged.process).next_place).mean() / best < 1.01
    assert merged.devices == 5


TOTALS = st.lists(st.integers(2, 400).map(lambda it: 5 * it), min_size=2, max_size=9)


@settings(deadline=None, max_examples=40)
@given(TOTALS, st.integers(2, 200_000).map(lambda it: 5 * it), st.integers(0, CELL_COUNT - 1))
def test_whatever_one_says_of_a_row_it_is_no_more_than_its_share_of_those_that_tell_it(totals, lie, following):
    honest = {f"d{index}": [told({(0, 0): Row(0, {1: total})})] for index, total in enumerate(totals)}
    liar = {"liar": [told({(0, 0): Row(0, {following: lie})})]}
    with_it, without = (learned_process(PROCESS, MEANING, it).process.transition[0] for it in (honest | liar, honest))
    devices = len(totals) + 1
    share = 1 / (devices // 2 + 1)
    prior = ((1 - SURPRISE) * PROCESS.transition + SURPRISE / CELL_COUNT)[0]
    plan = 20 / (20 + min(totals))
    if following != 1:
        assert with_it[following] <= max(share, prior[following]) + 1e-9
        assert with_it[1] >= (1 - share) * min(1.0, 1 - plan) - 1e-9 or without[1] < 0.9


@pytest.mark.parametrize("tellers", [1, 2])
def test_what_one_or_two_of_a_fleet_alone_tell_counts_as_much_as_the_plan_does_each(tellers):
    fleet = {f"d{index}": [told({(0, 0): Row(0, {0: 1000})})] for index in range(8)}
    alone = {f"e{index}": [told({(0, 0): Row(0, {0: 1000}), (0, 3): Row(0, {5: 1_000_000})})] for index in range(tellers)}
    found = learned_process(PROCESS, MEANING, fleet | alone).process.transition[3]
    prior = ((1 - SURPRISE) * PROCESS.transition + SURPRISE / CELL_COUNT)[3]
    assert found[5] == pytest.approx((20 * prior[5] + 20 * tellers) / (20 + 20 * tellers))


def test_of_one_device_or_two_what_they_tell_is_taken_up_to_the_bound():
    for count in (1, 2):
        found = learned_process(PROCESS, MEANING, {f"d{it}": [told({(0, 0): Row(0, {1: 1000})})] for it in range(count)})
        assert found.transitions == 1000 * count


def of_a_day(count):
    """The plan, the truth of a trace, the meaning, and what so many devices tell of a day of it."""
    it, trace = stream(), traces(3000)[1]
    dimensions = tuple(
        Measured(one.name.replace(" ", "-"), "x", one.levels, tuple(range(len(one.levels) - 1))) for one in it.process.dimensions
    )
    policy = Policy("sha256:" + "0" * 64, "camera", PLACES, dimensions, (0,) * it.process.serving_cost.size, 20_000)
    documents = {}
    for device in range(count):
        counter = Seeing(policy)
        for cell in trace.cells(device).tolist():
            counter.saw(0, cell)
        documents[f"camera-{device}"] = [experience.read(counter.experience().written())]
    return it.process, replace(it.process, transition=trace.matrices[0]), experience.meaning_of(policy), documents


def lies(cells):
    """What a device could say to steer the others: that all ends in one cell, that nothing ever changes, that all is as likely."""
    most = experience.MOST_COUNT
    return {
        "all is cut": {(0, cell): Row(0, {0: most}) for cell in range(cells)},
        "all is best": {(0, cell): Row(0, {cells - 1: most}) for cell in range(cells)},
        "nothing changes": {(0, cell): Row(0, {cell: most}) for cell in range(cells)},
        "all changes": {(0, cell): Row(0, dict.fromkeys(range(cells), most)) for cell in range(cells)},
        "it does not say": {(0, cell): Row(most) for cell in range(cells)},
    }


def test_one_liar_among_ten_costs_the_fleet_a_few_percent_and_without_the_bound_a_fifth(monkeypatch):
    planned, truth, meaning, documents = of_a_day(9)
    best = solve(truth).value.mean()
    cells = truth.shape[1]

    def dearer(fleet):
        merged = learned_process(planned, meaning, fleet)
        return evaluate(truth, solve(merged.process).next_place).mean() / best - 1

    def worst():
        found = (Experience(meaning, "camera", len(PLACES), cells, rows) for rows in lies(cells).values())
        return max(dearer({**documents, "liar": [it]}) for it in found)

    honest = dearer(documents)
    assert honest < 0.005
    assert worst() < 0.04  # 3.2 %
    monkeypatch.setattr(merging, "_cap", lambda told, devices, plan_weight, most_a_row: most_a_row)
    assert worst() > 0.15  # where each may count for 2,000 transitions, whatever the others do: 20 %
