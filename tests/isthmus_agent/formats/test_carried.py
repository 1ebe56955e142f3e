"""Calls on a model that devices carry for each other."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import carried
from isthmus_agent.formats.carried import MOST_BODY_BYTES, Call, Result
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.paths import predict_path

paths = st.builds(predict_path, st.from_regex(r"[A-Za-z0-9._ -]{1,40}", fullmatch=True), st.none() | st.integers(0, 10**9))


@given(paths, st.binary(max_size=100))
def test_a_call_is_read_as_it_was_written(path, body):
    assert carried.call_in(carried.encoded_call(Call(path, body))) == Call(path, body)


@given(st.integers(100, 599), st.binary(max_size=100))
def test_a_result_is_read_as_it_was_written(status, body):
    assert carried.result_in(carried.encoded_result(Result(status, body))) == Result(status, body)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_call_and_a_result_or_one_error(content):
    for read in (carried.call_in, carried.result_in):
        with contextlib.suppress(FormatError):
            read(content)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/healthz",
        "/v1/models/digits",
        "/v1/models/digits/metadata",
        "/v1/models/digits:classify",
        "/v1/models/a/../b:predict",
        "/v1/models/digits:predict HTTP/1.1\r\nX: y",
        "/v1/models/digits:predict?x",
        "/v1/models/dïgits:predict",
    ],
)
def test_nothing_but_a_prediction_is_carried(path):
    assert not carried.is_call(path)
    with pytest.raises(FormatError):
        carried.encoded_call(Call(path, b""))
    content = path.encode()
    with pytest.raises(FormatError):
        carried.call_in(len(content).to_bytes(2, "big") + content)


def test_what_is_too_large_is_not_carried():
    for body in (b"x" * (MOST_BODY_BYTES + 1),):
        with pytest.raises(FormatError):
            carried.encoded_call(Call("/v1/models/digits:predict", body))
        with pytest.raises(FormatError):
            carried.encoded_result(Result(200, body))
