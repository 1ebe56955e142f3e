"""What a member says goes over the wire in a few bytes and comes back; what nobody wrote is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import evidence
from isthmus_agent.formats.numbers import FormatError

CLASSES = st.integers(2, 40)
CLIPS = st.sampled_from([0.5, 1.5, 4.0, 16.0])
LOGS = st.floats(-50, 0) | st.just(-math.inf)


@st.composite
def said(draw):
    """An evidence, its cut."""
    classes, clip = draw(CLASSES), draw(CLIPS)
    logs = draw(st.lists(LOGS, min_size=classes, max_size=classes).filter(lambda it: max(it) > -math.inf))
    return evidence.evidence_of(logs, draw(st.floats(0, 16)), [0.0] * classes, clip), clip


@given(said())
def test_what_is_read_is_what_was_written_to_half_a_level_and_the_likeliest_stays(it):
    given_evidence, clip = it
    read = evidence.decode(evidence.encode(given_evidence, clip), len(given_evidence), clip)
    step = clip / evidence.LEVELS
    assert all(abs(found - it) <= step * (0.5 if it < -step / 2 else 1) + 1e-9 for found, it in zip(read, given_evidence, strict=True))
    assert read.index(0) == given_evidence.index(0)
    assert read.count(0) == 1
    assert min(read) >= -clip
    assert evidence.decode(evidence.encode(read, clip), len(read), clip) == read


@given(st.binary(max_size=30), CLASSES, CLIPS)
def test_each_evidence_has_one_writing_and_nothing_but_the_one_error_is_raised_for_any_bytes(payload, classes, clip):
    try:
        read = evidence.decode(payload, classes, clip)
    except FormatError:
        return
    assert evidence.encode(read, clip) == payload


@given(said())
def test_a_class_has_a_byte_or_so(it):
    given_evidence, clip = it
    named = sum(value > -clip * (1 - 1 / 32) for value in given_evidence)
    length = len(evidence.encode(given_evidence, clip))
    assert length <= evidence.most_bytes(len(given_evidence))
    assert length <= 3 + (named - 1) * 10 / 8  # 6 bits of a class's number, 4 of its level


def test_a_sure_answer_of_ten_classes_has_one_byte_and_the_least_sure_ten():
    prior = [0.0] * 10
    assert evidence.encode(evidence.evidence_of([0.0] + [-9.0] * 9, 1, prior, 4), 4) == b"\x00"
    assert len(evidence.encode((0.0,) * 10, 4)) == evidence.most_bytes(10) == 10


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "0 bytes"),
        (b"\x00" * 11, "11 bytes"),
        (b"\x0a", "class 10"),
        (b"\xa0" + b"\x00" * 9, "10 others"),
        (b"\x10", "ends early"),
        (b"\x00\x00", "follows its end"),
        (b"\x10\x00", "class 0 after -1"),  # the likeliest, named again
        (b"\x20\x21\x11", "class 1 after 2"),
        (b"\x11\x00", "class 0 at level 0"),
        (b"\x10\xb1", "class 11"),
    ],
)
def test_bytes_that_nobody_writes_are_refused(payload, said):
    with pytest.raises(FormatError, match=said):
        evidence.decode(payload, 10, 4.0)


def test_padding_that_is_not_zero_is_refused():
    sound = evidence.encode((0.0, -4.0, -4.0, -4.0), 4.0)
    assert sound == b"\x00"
    with pytest.raises(FormatError, match="follows its end"):
        evidence.decode(b"\x01", 4, 4.0)


@given(st.lists(st.floats(-9, 0), min_size=3, max_size=3), st.floats(-100, 100))
def test_scores_that_differ_by_the_same_number_say_the_same(logs, more):
    first = evidence.evidence_of(logs, 1.0, [0.0] * 3, 4.0)
    assert evidence.evidence_of([it + more for it in logs], 1.0, [0.0] * 3, 4.0) == pytest.approx(first, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(-math.inf), min_size=4, max_size=4).filter(lambda it: max(it) > -math.inf), CLIPS)
def test_no_answer_says_more_than_the_cut_allows(logs, clip):
    found = evidence.evidence_of(logs, 16.0, [-1.0, -2.0, -3.0, -0.5], clip)
    assert max(found) == 0
    assert min(found) >= -clip


def test_an_answer_that_is_the_prior_says_nothing():
    prior = [math.log(0.7), math.log(0.2), math.log(0.1)]
    assert evidence.evidence_of(prior, 1.0, prior, 4.0) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 2e6, -2e6])
def test_a_value_that_is_no_log_probability_is_refused(wrong):
    with pytest.raises(FormatError, match="expected a log-probability"):
        evidence.evidence_of([0.0, wrong], 1.0, [0.0, 0.0], 4.0)


def test_an_answer_without_a_possible_class_or_of_other_classes_is_refused():
    with pytest.raises(FormatError, match="no class is possible"):
        evidence.evidence_of([-math.inf] * 2, 1.0, [0.0, 0.0], 4.0)
    with pytest.raises(FormatError, match="3 classes, expected 2"):
        evidence.evidence_of([0.0] * 3, 1.0, [0.0, 0.0], 4.0)
