"""Codings are read back, whatever they hold; what is no coding is refused with one error."""

import bz2
import contextlib
import io
import lzma
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.release.coding import encode, number
from isthmus_agent.formats import coding, swar
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError

SKEWED = st.lists(st.sampled_from([0] * 30 + [1, 255, 2, 254, 7, 100]), max_size=3000).map(bytes)


def decoded(coded: bytes, length: int) -> bytes:
    reader = coding.Reader(io.BytesIO(coded))
    found = coding.decode(reader, length)
    reader.end()
    return found


@given(st.one_of(st.binary(max_size=2000), SKEWED, st.builds(lambda byte, n: bytes([byte]) * n, st.integers(0, 255), st.integers(0, 5000))))
def test_what_is_coded_is_read_back(data):
    assert decoded(encode(data), len(data)) == data


@given(st.integers(0, MOST_NUMBER))
def test_a_number_is_read_back(value):
    assert coding.Reader(io.BytesIO(number(value))).number() == value


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x80\x00", b"\xff" * 8 + b"\x01", b"\x80" * 30])
def test_a_number_that_is_cut_off_padded_or_too_large_is_refused(raw):
    with pytest.raises(FormatError):
        coding.Reader(io.BytesIO(raw)).number()


@given(SKEWED.filter(len), st.data())
def test_a_coding_with_one_wrong_byte_is_refused_or_has_the_length_that_was_asked_for(data, draw):
    coded = bytearray(encode(data))
    place = draw.draw(st.integers(0, len(coded) - 1))
    coded[place] ^= draw.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError):
        assert len(decoded(bytes(coded), len(data))) == len(data)


@given(st.binary(max_size=300), st.integers(1, 10_000))
def test_no_bytes_at_all_raise_anything_else(raw, length):
    with contextlib.suppress(FormatError):
        assert len(decoded(raw, length)) == length


def test_a_bomb_is_inflated_no_further_than_the_length_that_was_asked_for():
    coded = _leaf_of_zeros(8_000_000)
    tracemalloc.start()
    try:
        for bomb in coded:
            with pytest.raises(FormatError):
                decoded(bomb, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def _leaf_of_zeros(length: int) -> list[bytes]:
    zeros = bytes(length)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    chains = {leaf: [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, **p}] for leaf, p in coding.LZMA_PROPERTIES.items()}
    payloads = {
        coding.DEFLATE: deflater.compress(zeros) + deflater.flush(),
        coding.BZIP2: bz2.compress(zeros),
        **{leaf: lzma.compress(zeros, lzma.FORMAT_RAW, filters=chain) for leaf, chain in chains.items()},
    }
    return [bytes([leaf]) + number(len(payload)) + payload for leaf, payload in payloads.items()]


def test_codings_nest_to_a_depth_and_no_further():
    nested = (bytes([coding.PACKED + 1]) + b"\x00") * (coding.MAX_DEPTH + 1)
    with pytest.raises(FormatError, match="not known"):
        decoded(nested + bytes(100), 100_000)


@pytest.mark.parametrize(("changed_share", "over"), [(0.005, 1.15), (0.08, 1.03), (0.26, 1.03), (0.76, 1.03)])
def test_rounded_noise_is_coded_near_its_entropy(changed_share, over):
    draws = np.random.default_rng(1).normal(size=170_000)
    deviation = 0.5 / np.quantile(np.abs(draws), 1 - changed_share)
    data = np.round(draws * deviation).astype(np.int8).view(np.uint8)
    shares = np.bincount(data) / data.size
    entropy_bytes = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * data.size / 8
    assert len(encode(data.tobytes())) <= over * entropy_bytes


@pytest.mark.parametrize("bits", [4, 8, 16, 32, 64])
@given(st.data())
def test_sums_are_those_of_numpy(bits, data):
    first = data.draw(st.binary(min_size=8, max_size=400).map(lambda raw: raw[: len(raw) // 8 * 8]))
    second = data.draw(st.binary(min_size=len(first), max_size=len(first)))
    found = swar.summed(first, second, bits)
    if bits == 4:
        halves = [[(byte >> shift) & 0xF for byte in raw for shift in (0, 4)] for raw in (first, second, found)]
        assert halves[2] == [(a + b) & 0xF for a, b in zip(halves[0], halves[1], strict=True)]
    else:
        wanted = np.frombuffer(first, f"<u{bits // 8}") + np.frombuffer(second, f"<u{bits // 8}")
        assert found == wanted.tobytes()


@pytest.mark.parametrize("bits", [16, 32, 64])
@given(st.data())
def test_folded_numbers_are_unfolded(bits, data):
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    numbers = data.draw(st.lists(st.one_of(st.integers(least, most), st.sampled_from([least, most, 0, -1, 1])), max_size=60))
    folded = b"".join((2 * value if value >= 0 else -2 * value - 1).to_bytes(bits // 8, "little") for value in numbers)
    assert swar.unfolded(folded, bits) == np.array(numbers, f"<i{bits // 8}").tobytes()
