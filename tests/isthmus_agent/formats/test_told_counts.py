"""A device's counts in the store: by that device, of that fleet, under its own name, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import report, told_counts
from isthmus_agent.formats.experience import Experience, Row
from isthmus_agent.formats.numbers import FormatError

KEY = bytes(range(32))
SEEN = Experience("sha256:" + "a" * 64, "*", 2, 4, {(0, 1): Row(10, {2: 50})})
CONTENT = told_counts.written(SEEN, "cameras", "camera-1", KEY)


def test_what_is_read_is_what_was_written_and_a_document_alone_is_taken_for_one():
    assert told_counts.read(CONTENT, "cameras", "camera-1", KEY) == SEEN.written()
    assert told_counts.document_in(CONTENT) == told_counts.document_in(SEEN.written()) == SEEN.written()


@pytest.mark.parametrize(
    ("content", "fleet", "device", "key"),
    [
        (CONTENT, "doors", "camera-1", KEY),
        (CONTENT, "cameras", "camera-2", KEY),
        (CONTENT, "cameras", "camera-1", bytes(32)),
        (CONTENT[:-1], "cameras", "camera-1", KEY),
        (CONTENT.replace(b"50", b"60"), "cameras", "camera-1", KEY),
        (SEEN.written(), "cameras", "camera-1", KEY),
        (b"", "cameras", "camera-1", KEY),
    ],
)
def test_what_this_device_has_not_written_is_refused(content: bytes, fleet: str, device: str, key: bytes):
    with pytest.raises(FormatError):
        told_counts.read(content, fleet, device, key)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes):
    with pytest.raises(FormatError):
        told_counts.read(content, "cameras", "camera-1", KEY)
    assert isinstance(told_counts.document_in(content), bytes)


def test_its_key_is_one_that_its_own_credentials_may_write_and_no_report_of_any_number():
    key = told_counts.object_key("edge/", "cameras", "camera-1")
    begin, _, rest = report.own_keys("edge/", "camera-1").partition("*")
    assert key.startswith(begin)
    assert f"/{rest.removeprefix('/').rstrip('*')}" in key
    assert told_counts.device_of(key, "edge/", "cameras") == "camera-1"
    with pytest.raises(FormatError):
        report.read(key, "edge/")


@pytest.mark.parametrize(
    "key", ["", "edge/health/counts/camera-1", "edge/health/counts/camera-1~doors", "edge/health/counts/~cameras", "x"]
)
def test_other_keys_are_refused(key: str):
    with pytest.raises(FormatError):
        told_counts.device_of(key, "edge/", "cameras")
