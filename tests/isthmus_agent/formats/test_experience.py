"""What a device tells of its network and load: read as it was written, nothing rare in it, and one error for everything else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_agent.formats import experience
from isthmus_agent.formats.experience import COUNT_STEP, LEAST_COUNT, MOST_BYTES, MOST_COUNT, MOST_COUNTS, MOST_ROWS, Experience, Row, told
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import MOST_CELLS, MOST_PLACES, Measured, Policy

MEANING = "sha256:" + "ab" * 32
SOUND = Experience(MEANING, "camera", 2, 3, {(0, 1): Row(10, {0: 15, 2: 20}), (1, 2): Row(0, {2: 500})})

AT = st.tuples(st.integers(0, 3), st.integers(0, 5))
COUNTS = st.dictionaries(AT, st.dictionaries(st.integers(0, 5), st.integers(0, 2 * MOST_COUNT), max_size=6), max_size=12)
RESTS = st.dictionaries(AT, st.integers(0, MOST_COUNT), max_size=6)


@settings(deadline=None, max_examples=40)
@given(COUNTS, RESTS)
def test_what_is_read_is_what_was_written(counts, rests):
    it = Experience(MEANING, "camera", 4, 6, told(counts, rests))
    assert experience.read(it.written()) == it


@settings(deadline=None, max_examples=40)
@given(COUNTS, RESTS)
def test_no_count_that_is_told_is_small_exact_or_unbounded(counts, rests):
    for row in told(counts, rests).values():
        for count in (*row.counts.values(), *([row.rest] if row.rest else [])):
            assert LEAST_COUNT <= count <= MOST_COUNT
            assert count % COUNT_STEP == 0


def test_a_count_below_the_least_is_told_only_in_the_sum_of_its_row():
    assert told({(0, 0): {0: 100, 1: LEAST_COUNT - 1}}, {}) == {(0, 0): Row(0, {0: 100})}
    assert told({(0, 0): {0: 100, 1: 9, 2: 9}}, {}) == {(0, 0): Row(20, {0: 100})}
    assert told({(0, 0): {1: 9}}, {}) == {}


@given(st.integers(LEAST_COUNT, MOST_COUNT), st.integers(-2, 2))
def test_neighbouring_counts_look_alike_and_are_told_within_half_a_step(count, off):
    row = told({(0, 0): {1: count}}, {})[0, 0]
    assert abs(row.counts[1] - count) <= COUNT_STEP // 2
    rounded = row.counts[1]
    assert told({(0, 0): {1: max(rounded + off, LEAST_COUNT)}}, {})[0, 0].counts[1] == rounded


@pytest.mark.slow
def test_the_longest_experience_fits():
    rests = {(place, cell): MOST_COUNT for place in range(MOST_PLACES) for cell in range(MOST_CELLS)}
    counts = {(MOST_PLACES - 1, cell): {MOST_CELLS - 1 - it: MOST_COUNT for it in range(20)} for cell in range(MOST_CELLS)}
    it = Experience(MEANING, "c" * 64, MOST_PLACES, MOST_CELLS, told(counts, rests))
    assert len(it.rows) == MOST_ROWS
    assert sum(len(row.counts) for row in it.rows.values()) == MOST_COUNTS
    assert len(it.written()) <= MOST_BYTES
    assert experience.read(it.written()) == it


def _changed(**fields):
    return json.dumps({**json.loads(SOUND.written()), **fields}, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (_changed(format=2), "format"),
        (_changed(places=True), "places"),
        (_changed(cells=MOST_CELLS + 1), "cells"),
        (_changed(meaning="md5:00"), "meaning"),
        (_changed(**{"class": "ünï"}), "class"),
        (_changed(more=1), "unknown field"),
        (_changed(rows=[[0, 0]]), r"rows\[0\]"),
        (_changed(rows=[[2, 0, 10]]), r"rows\[0\]\[0\]"),
        (_changed(rows=[[0, 3, 10]]), r"rows\[0\]\[1\]"),
        (_changed(rows=[[0, 0, 10, 1]]), "no count"),
        (_changed(rows=[[0, 0, 0]]), "nothing followed"),
        (_changed(rows=[[0, 0, False, 1, 10]]), r"rows\[0\]\[2\]"),
        (_changed(rows=[[0, 0, 0, 1, LEAST_COUNT - COUNT_STEP]]), r"rows\[0\]\[4\]"),
        (_changed(rows=[[0, 0, 0, 1, LEAST_COUNT + 1]]), "multiple"),
        (_changed(rows=[[0, 0, 0, 1, MOST_COUNT + COUNT_STEP]]), r"rows\[0\]\[4\]"),
        (_changed(rows=[[0, 0, 0, 1, 10, 1, 10]]), "one way"),
        (_changed(rows=[[0, 1, 10], [0, 0, 10]]), "one way"),
        (_changed(rows=[[0, 1, 10], [0, 1, 10]]), "one way"),
        (SOUND.written() + b" ", "one way"),
        (SOUND.written().replace(b",15,", b",15.0,"), "fraction"),
        (b"[" * 100_000, "JSON"),
        (b" " * (MOST_BYTES + 1), "bytes"),
    ],
)
def test_what_is_no_such_document_is_refused(content, where):
    with pytest.raises(FormatError, match=where):
        experience.read(content)


@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(SOUND.written()) - 1), st.binary(max_size=3)))
def test_hostile_bytes_are_one_error_or_an_experience_that_is_written_so(content):
    if isinstance(content, tuple):
        at, other = content
        content = SOUND.written()[:at] + other + SOUND.written()[at + 1 :]
    try:
        found = experience.read(content)
    except FormatError:
        return
    assert found.written() == content


def test_cells_mean_the_same_under_another_table_and_release_and_something_else_with_other_edges():
    dimension = Measured("network", "Mbit/s", ("poor", "good"), (5000,))
    first = Policy("sha256:" + "0" * 64, "camera", ("device", "cloud"), (dimension,), (0, 0, 0, 0), 20_000)
    other_table = Policy("sha256:" + "1" * 64, "camera", ("device", "cloud"), (dimension,), (0, 1, 0, 1), 20_000)
    other_edges = Policy(
        first.release, "camera", first.places, (Measured("network", "Mbit/s", ("poor", "good"), (6000,)),), first.table, 20_000
    )
    other_step = Policy(first.release, "camera", first.places, first.dimensions, first.table, 10_000)
    assert experience.meaning_of(first) == experience.meaning_of(other_table)
    assert len({experience.meaning_of(it) for it in (first, other_edges, other_step)}) == 3
