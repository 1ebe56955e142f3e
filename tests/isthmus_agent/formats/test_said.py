"""What a device says of one event: one writing, bounded, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import digests, said
from isthmus_agent.formats.evidence import most_bytes
from isthmus_agent.formats.fusion_group import MOST_MEMBERS
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.said import Said

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
SAID = st.builds(Said, st.integers(0, 2**64 - 1), st.integers(0, MOST_MEMBERS - 1), NAMES, st.binary(min_size=1, max_size=40))


@given(SAID)
def test_reading_what_was_written_gives_the_same(what):
    assert said.decoded(said.encoded(what)) == what


@given(st.binary(max_size=120))
def test_whatever_comes_is_read_as_what_would_be_written_so_or_refused(content):
    try:
        found = said.decoded(content)
    except FormatError:
        return
    assert said.encoded(found) == content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found 0 bytes"),
        (b"\x02" + bytes(8) + b"\x00\x01e.", "found version 2"),
        (b"\x01" + bytes(8) + b"\x10\x01e.", "whole number from 0 to 15"),
        (b"\x01" + bytes(8) + b"\x00\x05e.", "it ends early"),
        (b"\x01" + bytes(8) + b"\x00\x01e", "it ends early"),
        (b"\x01" + bytes(8) + b"\x00\x00.", "expected a name"),
        (b"\x01" + bytes(8) + b"\x00\x02\xc3\xa9.", "expected a name"),
    ],
)
def test_what_is_none_is_one_error_that_says_why(content, words):
    with pytest.raises(FormatError, match=words):
        said.decoded(content)


def test_another_file_has_another_tag_and_the_longest_message_is_bounded():
    assert said.tag_of(digests.of(b"a")) != said.tag_of(digests.of(b"b"))
    whole = said.encoded(Said(2**64 - 1, 15, "e" * 64, bytes(most_bytes(10))))
    assert len(whole) == said.longest(10)
