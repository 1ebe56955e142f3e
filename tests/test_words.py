"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import words


@given(st.floats(0, 1))
def test_a_share_never_reads_as_more_than_it_is(share):
    read = float(words.percent(share).removesuffix(" %"))
    assert read <= 100 * share + 1e-9
    assert read >= 100 * share - 0.01 - 1e-9


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (words.percent(None), "unknown"),
        (words.percent(0.98889), "98.88 %"),
        (words.percent(1), "100 %"),
        (words.kilobytes(90_249), "90.2 kB"),
        (words.in_bytes(12e9), "12 GB"),
        (words.in_bytes(999), "999 bytes"),
        (words.duration(45), "45 s"),
        (words.duration(372), "6.2 min"),
        (words.duration(72_600), "20.2 h"),
        (words.duration(259_200), "3 days"),
        (words.money(1234.5), "1,234.50"),
        (words.plain(123456.7), "123,457"),
        (words.plain(0.00012345), "0.0001234"),
    ],
)
def test_as_people_write_them(read, text):
    assert read == text


def test_columns_begin_with_words_at_the_left_and_end_with_numbers_at_the_right():
    rows = [("model", "p95 ms"), ("digits", "0.6"), ("a", "12")]
    assert words.in_columns(rows, words=1) == ["model   p95 ms", "digits     0.6", "a           12"]
    assert words.in_columns([("", "x"), ("→", "10")]) == ["    x", "→  10"]
    assert words.in_columns([("a", ""), ("bb", "1")], words=2) == ["a", "bb  1"]
