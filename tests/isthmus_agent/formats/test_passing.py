import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import passing
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError
from isthmus_agent.formats.passing import MOST_PAYLOAD_BYTES, Answer, Outcome, Request, Tag

numbers = st.integers(0, MOST_NUMBER)
tags = st.builds(Tag, numbers, numbers, numbers, st.integers(1, 2**32 - 1))
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
requests = st.builds(Request, tags, names, st.binary(max_size=50))
answers = st.builds(Answer, tags, st.sampled_from(Outcome), st.binary(max_size=50))


@given(requests)
def test_a_request_is_read_as_it_was_written(request):
    assert passing.request(passing.encoded(request)) == request


@given(answers)
def test_an_answer_is_read_as_it_was_written(answer):
    assert passing.answer(passing.encoded(answer)) == answer


@given(requests | answers, st.data())
def test_a_message_that_was_cut_or_changed_is_a_message_or_one_error(message, data):
    content = bytearray(passing.encoded(message))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for read in (passing.request, passing.answer):
        with contextlib.suppress(FormatError):
            read(bytes(content[: data.draw(st.integers(0, len(content)))]))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_one_error(content):
    for read in (passing.request, passing.answer):
        with contextlib.suppress(FormatError):
            read(content)


def test_a_request_is_no_answer():
    with pytest.raises(FormatError, match="begin"):
        passing.answer(passing.encoded(Request(Tag(1, 1, 1, 1), "camera", b"x" * 10)))


@pytest.mark.parametrize("tag", [Tag(MOST_NUMBER + 1, 1, 1, 1), Tag(1, 1, 1, 0)])
def test_numbers_out_of_bounds_are_refused(tag):
    with pytest.raises(FormatError):
        passing.answer(passing.encoded(Answer(tag, Outcome.DONE)))


def test_a_payload_that_is_too_large_is_refused():
    with pytest.raises(FormatError, match="payload"):
        passing.answer(passing.encoded(Answer(Tag(1, 1, 1, 1), Outcome.DONE, b"x" * (MOST_PAYLOAD_BYTES + 1))))


def test_a_prediction_costs_few_bytes_beside_its_payload():
    assert len(passing.encoded(Request(Tag(1, 1, 1, 1), "camera", b""))) == 37
    assert len(passing.encoded(Answer(Tag(1, 1, 1, 1), Outcome.DONE))) == 31
