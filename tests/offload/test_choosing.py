"""Which threshold is taken, and why."""

from hypothesis import given
from tests.offload.test_rows import all_groups

from isthmus.offload.choosing import choose
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
