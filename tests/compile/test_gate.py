"""A release that breaks its promise is refused with what was measured of every candidate."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.compile.gate import check_accuracy, listing
from isthmus.release.manifest import EDGE, SERVING, Candidate, FileEntry, Manifest, Record, Release, Timing, Variant
from isthmus.words import percent

FILE = FileEntry("golden.json", 2, "0" * 64)
TIMING = Timing(1.0, 1.0, 1.0, 10)
CANDIDATES = (
    Candidate("float32", 330_344, 306_000, 0.9911),
    Candidate("int8", 90_168, 80_500, 0.9511),
    Candidate("int4", problem="the answers are not numbers"),
)


def release(edge_accuracy: float | None, source_accuracy: float | None = 0.9911, examples: int = 450, **record: object) -> Release:
    variants = (Variant(SERVING, "float32", (), source_accuracy, 0.0), Variant(EDGE, "int8", (), edge_accuracy, 0.01))
    manifest = Manifest("digits", 1, "int8", "serving_default", (), (), variants, FILE, 0.1, source_accuracy, examples, ())
    return Release(Path(), manifest, replace(Record("x86_64 2 cores", "now", TIMING, TIMING), **record))


def test_a_kept_promise_is_no_problem() -> None:
    assert check_accuracy(release(0.97), 0.97, "digits") == []


def test_a_broken_promise_lists_all_candidates_with_accuracy_and_size() -> None:
    (problem,) = check_accuracy(release(0.9511, candidates=CANDIDATES), 0.98, "services.digits")
    lines = str(problem).splitlines()
    assert lines[0] == (
        "services.digits.min_accuracy: the edge variant (int8) of digits is right on 0.9511 of 450 held-out examples, 0.0289 too few; "
        "expected at least 0.98. Fix: the source reaches 0.9911, so recipe int8 lost it: choose a milder recipe, or auto. Tried:"
    )
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "float32 accuracy 99.11 % 330.3 kB 306.0 kB as shipped",
        "int8 accuracy 95.11 % 90.2 kB 80.5 kB as shipped",
        "int4 out: the answers are not numbers",
    ]


def test_the_list_stands_once_where_both_variants_fail() -> None:
    problems = check_accuracy(release(0.95, candidates=CANDIDATES), 0.999, "")
    assert [("Tried:" in str(problem), problem.path) for problem in problems] == [(False, "min_accuracy"), (True, "min_accuracy")]
    assert "train the model further, or lower min_accuracy to 0.95" in problems[1].fix


def test_a_record_without_candidates_still_has_a_message() -> None:
    (problem,) = check_accuracy(release(0.9511), 0.98, "digits")
    assert "Tried" not in str(problem)


def test_another_metric_is_called_by_its_name() -> None:
    (problem,) = check_accuracy(release(0.8, metric="r2"), 0.9, "digits")
    assert "has r2 0.8000 on 450 held-out examples, 0.1000 too little" in problem.what


def test_a_promise_that_nobody_can_check_is_a_problem() -> None:
    (problem,) = check_accuracy(release(None, None, 0), 0.9, "digits")
    assert "is unknown: its source has no evaluation data" in problem.what


@pytest.mark.parametrize(("score", "shown"), [(1.0, "100 %"), (0.98, "98 %"), (0.96999, "96.99 %"), (0.29, "29 %"), (None, "unknown")])
def test_a_score_is_rounded_down_so_that_a_miss_never_looks_kept(score: float | None, shown: str) -> None:
    assert percent(score) == shown


def test_the_columns_of_a_listing_stand_below_each_other() -> None:
    lines = listing(CANDIDATES[:2], "accuracy").splitlines()[1:]
    assert len({len(line) for line in lines}) == 1
