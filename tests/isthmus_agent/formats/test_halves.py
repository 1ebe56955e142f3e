"""The ways in a bundle: what was written is read as it was, and nothing else is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats.halves import MOST_WAYS, SIZES_BYTES, Halves, Tensor, Way, from_figures, from_json
from isthmus_agent.formats.numbers import FormatError

RELEASE = "sha256:" + "a" * 64
_COUNTS, _SIZES = st.integers(0, 10**9), st.lists(st.integers(1, 9), min_size=1, max_size=7).map(tuple)
_TENSORS = st.builds(Tensor, st.sampled_from(["x", "feature_0", "größe"]), st.sampled_from(sorted(SIZES_BYTES)), _SIZES)
_SCALES = st.integers(0x00800000, 0x7F7FFFFF)
_QUANTISED = st.builds(Tensor, st.just("y"), st.just("float32"), st.just((1, 3)), _SCALES, st.integers(0, 255))


def _ways(number: int) -> st.SearchStrategy[Way]:
    tensors, heads, bytes_ = st.tuples(_TENSORS, _QUANTISED), st.sampled_from([None, "head_1"]), st.integers(1, 9)
    return st.builds(Way, heads, st.just(f"tail_{number}"), tensors, st.booleans(), _COUNTS, _COUNTS, bytes_)


HALVES = st.builds(
    Halves, st.just(RELEASE), st.integers(1, 10**9), st.integers(0, 10**6), st.tuples(_ways(0), _ways(1)) | st.tuples(_ways(2))
)
ONE = Halves(RELEASE, 1000, 50_000, (Way("head_1", "tail_1", (Tensor("x", "float32", (1, 4), 0x3C000000, 7),), True, 10, 20, 4),))


@given(HALVES)
def test_what_was_written_is_read_as_it_was(halves: Halves) -> None:
    assert from_json(halves.to_json(), RELEASE) == halves
    assert from_figures(json.loads(json.dumps(halves.figures())), RELEASE) == halves


def _changed(*path: object, value: object) -> bytes:
    document = json.loads(ONE.to_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("release",), "sha256:" + "b" * 64),
        (("whole_microseconds",), 0),
        (("whole_microseconds",), 1.5),
        (("margin_millionths",), True),
        (("ways",), []),
        (("ways",), json.loads(ONE.to_json())["ways"] * 2),
        (("ways",), [{}] * (MOST_WAYS + 1)),
        (("ways", 0, "head"), "a b"),
        (("ways", 0, "tail"), None),
        (("ways", 0, "deflate"), 1),
        (("ways", 0, "sent_bytes"), 0),
        (("ways", 0, "tensors"), []),
        (("ways", 0, "tensors", 0, "name"), ""),
        (("ways", 0, "tensors", 0, "dtype"), "string"),
        (("ways", 0, "tensors", 0, "shape"), [1, -4]),
        (("ways", 0, "tensors", 0, "shape"), [4096, 4096]),
        (("ways", 0, "tensors", 0, "scale_bits"), 0x7FC00000),
        (("ways", 0, "tensors", 0, "scale_bits"), 0),
        (("ways", 0, "tensors", 0, "zero"), 256),
        (("ways", 0, "tensors", 0, "dtype"), "int8"),
        (("ways", 0, "more"), 1),
    ],
)  # fmt: skip
def test_what_says_something_else_is_refused_with_its_place(path: tuple[object, ...], value: object) -> None:
    assert from_json(_changed("format", value=1), RELEASE) == ONE
    with pytest.raises(FormatError):
        from_json(_changed(*path, value=value), RELEASE)


@given(st.binary(max_size=200))
def test_bytes_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        from_json(content, RELEASE)


def test_another_way_to_write_it_is_refused() -> None:
    with pytest.raises(FormatError, match="one way"):
        from_json(json.dumps(json.loads(ONE.to_json()), indent=1).encode(), RELEASE)
