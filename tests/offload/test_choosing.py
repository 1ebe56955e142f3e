"""Which threshold is taken, and why."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.offload.test_rows import all_groups

from isthmus.offload.choosing import Choice, choose, choose_by_error
from isthmus.offload.rows import deviation, rows_of
from isthmus.release.confidences import Group


def group(sure: float, both: int = 0, edge: int = 0, serving: int = 0, neither: int = 0) -> Group:
    return Group(sure, sure, both, edge, serving, neither)


@given(all_groups())
def test_nothing_that_passes_on_less_is_within_the_noise_of_the_best_and_the_choice_is(groups: list[Group]) -> None:
    rows = rows_of(groups)
    index, best = choose(rows).index, max(rows, key=lambda row: row.right)

    def is_within(which: int) -> bool:
        row = rows[which]
        gained, lost = best.gained - row.gained, best.lost - row.lost
        return (best.right - row.right) / row.examples <= deviation(gained, lost, row.examples)

    assert is_within(index)
    assert not any(is_within(which) for which in range(index))
    assert rows[index].share <= best.share


def test_where_both_are_equally_right_nothing_is_passed_on() -> None:
    found = choose(rows_of([group(0.4, both=5), group(0.9, both=95)]))
    assert (found.index, found.reason) == (
        0,
        "the cloud role's answers gain nothing on 100 examples: only requests without an answer are passed on",
    )


def test_a_gain_of_one_example_is_noise() -> None:
    found = choose(rows_of([group(0.4, serving=1), group(0.9, both=95)]))
    assert found.index == 0
    assert "within one standard error of nothing" in found.reason


def test_a_clear_gain_is_taken_at_the_least_share_that_has_it() -> None:
    rows = rows_of([group(0.3, serving=20), group(0.4, serving=18), group(0.5, serving=1, both=40), group(0.9, both=400)])
    found = choose(rows)
    assert rows[found.index].offloaded == 38
    assert found.reason.startswith("passes on least of what is within one standard error of the most accurate (+8.1 points")


def test_a_cloud_that_is_worse_is_not_asked() -> None:
    assert choose(rows_of([group(0.3, edge=20), group(0.9, both=80)])).index == 0


@given(all_groups(), st.floats(0, 1))
def test_by_error_the_least_threshold_is_taken_that_keeps_it(groups: list[Group], most: float) -> None:
    rows = rows_of(groups)
    kept = [(row.kept_wrong + 1) / (row.examples + 1) <= most for row in rows]
    found = choose_by_error(rows, most)
    assert (None if found is None else found.index) == (kept.index(True) if any(kept) else None)
    assert kept == sorted(kept)  # the loss never grows with the threshold


def test_a_further_request_is_answered_wrong_by_the_device_no_more_often_than_was_asked() -> None:
    """Exchangeable examples: each of N + 1 in turn is the further one. The mean over the turns is the expected loss, and a sum, no draw."""
    generator = np.random.default_rng(5)
    sure = generator.permutation(np.linspace(0.2, 0.99, 120))
    wrong = generator.random(120) > sure
    for most in (0.03, 0.1, 0.3):
        losses = []
        for left_out in range(120):
            rest = np.delete(np.arange(120), left_out)
            order = rest[np.argsort(sure[rest])]
            rows = rows_of([group(float(sure[it]), **{"neither" if wrong[it] else "both": 1}) for it in order])
            found = choose_by_error(rows, most)
            assert found is not None
            losses.append(wrong[left_out] and sure[left_out] >= rows[found.index].threshold)
        assert np.mean(losses) <= most
        assert np.mean(losses) > most - 0.03  # and not by asking for everything


def test_what_no_threshold_keeps_is_not_chosen() -> None:
    rows = rows_of([group(0.3, neither=1), group(0.9, both=8, neither=1)])
    assert choose_by_error(rows, 0.19) == Choice(
        1,
        "the least threshold at which devices answer at most 19 % of all requests wrong by themselves: 1 of 10 examples, so at most 18.2 % "
        "are to be expected",
    )
    assert choose_by_error(rows, 0.18) is None
