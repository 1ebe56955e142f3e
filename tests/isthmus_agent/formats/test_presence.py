import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import presence
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError
from isthmus_agent.formats.presence import MOST_PRESENCE_BYTES, MOST_STREAMS, MOST_WORK, Order, Presence, Stream, last

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
numbers = st.integers(0, MOST_NUMBER)
works = st.integers(0, MOST_WORK)
presences = st.builds(
    Presence,
    st.builds(Order, numbers, numbers, numbers),
    works,
    st.dictionaries(names, st.builds(Stream, works, names, st.booleans(), st.just("") | st.just("*") | names), max_size=5),
    st.just("*") | names,
)


@given(presences)
def test_a_presence_is_read_as_it_was_written(found):
    assert presence.decoded(presence.encoded(found)) == found


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, MOST_NUMBER - 1))
def test_a_last_word_comes_after_all_of_its_connection_and_before_the_next(start, connection, number):
    assert Order(start, connection, number) < last(start, connection) < Order(start, connection + 1, 0)
    assert last(start, connection).is_last


def test_the_largest_presence_has_room():
    streams = {f"{it:064d}": Stream(MOST_WORK, "d" * 128, False, "c" * 64) for it in range(MOST_STREAMS)}
    content = presence.encoded(Presence(Order(MOST_NUMBER, MOST_NUMBER, MOST_NUMBER), MOST_WORK, streams))
    assert len(content) <= MOST_PRESENCE_BYTES
    assert presence.decoded(content).streams == streams


@given(st.binary(max_size=200))
def test_any_bytes_are_a_presence_or_one_error(content):
    with contextlib.suppress(FormatError):
        presence.decoded(content)


@given(presences, st.data())
def test_a_presence_with_a_byte_changed_is_a_presence_or_one_error(found, data):
    content = bytearray(presence.encoded(found))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        presence.decoded(bytes(content))


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        (b'"version":2', b'"version":1', "version"),
        (b'"order":[1,2,3]', b'"order":[1,2]', "order"),
        (b'"order":[1,2,3]', b'"order":[1,2,-3]', r"order\[2\]"),
        (b'"capacity":7', b'"capacity":true', "capacity"),
        (b'"capacity":7', b'"capacity":7.0', "fraction"),
        (b'"capacity":7', b'"capacity":7,"time":1', "unknown"),
        (b'"class":"*"', b'"class":""', "class"),
        (b'[5,"a",true,""]', b'[5,"a/b",true,""]', "streams.camera"),
        (b'[5,"a",true,""]', b'[5,"a",1,""]', "streams.camera"),
        (b'[5,"a",true,""]', b'[5,"a",true]', "streams.camera"),
        (b'[5,"a",true,""]', b'[5,"a",true,"a b"]', "streams.camera"),
        (b'"camera"', b'"a b"', "streams"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(before, after, where):
    content = presence.encoded(Presence(Order(1, 2, 3), 7, {"camera": Stream(5, "a")}))
    assert before in content
    with pytest.raises(FormatError, match=where):
        presence.decoded(content.replace(before, after))
