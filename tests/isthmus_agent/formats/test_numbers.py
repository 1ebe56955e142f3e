"""Numbers and names from elsewhere are bounded, and what is wrong is one error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import JSON

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [], -1, 11, 10**400, float("nan")])
def test_only_a_whole_number_within_its_bounds_is_one(value):
    with pytest.raises(FormatError, match="expected a whole number from 0 to 10"):
        numbers.integer(value, "x", 0, 10)


@pytest.mark.parametrize("text", ["", "01", "+1", "-1", "1_0", " 1", "1\n", "٣", "1" * 400, "9007199254740993"])
def test_digits_are_written_in_one_way(text):
    with pytest.raises(FormatError):
        numbers.decimal(text, "x")


@given(st.integers(0, numbers.MOST_NUMBER))
def test_digits_are_read_as_they_were_written(value):
    assert numbers.decimal(str(value), "x") == value


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":2}', b"1.0", b"1e400", b"NaN", b"-Infinity", b"1" * 400, b"[" * 100_000, b"\xff", b"", b"{", b'"\\ud800']
)
def test_a_document_that_is_odd_is_refused_with_the_one_error(text):
    with pytest.raises(FormatError):
        numbers.load(text, "x", 1 << 20)


def test_a_document_that_is_too_large_is_not_parsed():
    with pytest.raises(FormatError, match="has 11 bytes, expected 10 at most"):
        numbers.load(b" " * 11, "x", 10)


@given(st.binary(max_size=200) | JSON.map(lambda it: str(it).encode("utf-8", "replace")))
def test_nothing_but_the_one_error_is_raised_for_any_bytes(content):
    with suppress(FormatError):
        numbers.load(content, "x", 1 << 20)


@given(JSON)
def test_what_a_message_shows_of_a_foreign_value_is_short_and_printable(value):
    shown = numbers.shown(value)
    assert len(shown) <= 500
    assert shown.rstrip("…").isprintable()
    assert shown.rstrip("…").isascii()


@pytest.mark.parametrize(
    "path",
    ["cameras/../x.bundle", "cameras//x.bundle", "other/x.bundle", "cameras/x.delta", "cameras/.bundle", "cameras/a/b.bundle", 7, None],
)
def test_a_target_lies_in_its_fleets_folder(path):
    with pytest.raises(FormatError, match=r"expected cameras/NAME\.bundle"):
        numbers.target_path(path, "x", "cameras", ".bundle")


@pytest.mark.parametrize("value", ["", "a~b", "a/b", "../x", "-a", "a" * 129, "é", "a\n", 5, None])
def test_a_devices_name_fits_into_a_key(value):
    with pytest.raises(FormatError):
        numbers.device_name(value, "x")
