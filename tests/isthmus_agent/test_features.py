"""What crosses a cut: every form arrives as it was sent, or as near as eight bits are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isthmus_agent.features import Affine, WireError, WireFormat, WireTensor, formats

FLOATS = arrays.arrays(np.float32, st.tuples(st.just(1), st.integers(1, 40)), elements=st.floats(-1e4, 1e4, width=32))


def _formats(values: np.ndarray) -> tuple[WireFormat, ...]:
    return formats([WireTensor("f", values.dtype.name, values.shape)], {"f": (float(values.min()), float(values.max()))})


@given(FLOATS)
def test_what_goes_as_it_is_arrives_bit_for_bit(values: np.ndarray) -> None:
    for wire in _formats(values):
        arrived = wire.decode(wire.encode({"f": values}))["f"]
        assert (arrived.dtype, arrived.shape) == (values.dtype, values.shape)
        if not wire.is_quantised:
            assert arrived.tobytes() == values.tobytes()


@given(FLOATS)
def test_eight_bits_are_wrong_by_half_a_step_at_most(values: np.ndarray) -> None:
    affine = Affine.of(float(values.min()), float(values.max()))
    error = np.abs(affine.restore(affine.quantise(values)).astype(np.float64) - values).max()
    assert error <= affine.scale / 2 * (1 + 1e-3) + 1e-30


@given(FLOATS)
def test_zero_stays_zero(values: np.ndarray) -> None:
    affine = Affine.of(float(values.min()), float(values.max()))
    assert affine.restore(affine.quantise(np.zeros((1, 3), np.float32))).tolist() == [[0, 0, 0]]


def test_what_lies_outside_of_the_range_becomes_its_end() -> None:
    affine = Affine.of(0, 1)
    assert affine.restore(affine.quantise(np.array([-5, 7], np.float32))) == pytest.approx([0, 1])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
def test_what_is_no_float_goes_as_it_is(dtype: str) -> None:
    values = np.ones((1, 3), dtype)
    assert [wire.name for wire in _formats(values)] == ["as it is", "as it is, deflated"]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_range_that_is_not_finite_is_not_quantised(odd: float) -> None:
    assert not any(wire.is_quantised for wire in formats([WireTensor("f", "float32", (1, 2))], {"f": (0.0, odd)}))


def test_a_feature_of_another_shape_or_type_is_refused() -> None:
    wire = WireFormat((WireTensor("f", "float32", (1, 2)),))
    for values in (np.zeros((1, 3), np.float32), np.zeros((1, 2), np.int8)):
        with pytest.raises(WireError, match="not float32"):
            wire.encode({"f": values})


@given(st.binary(max_size=64), st.booleans())
def test_other_bytes_are_refused_or_have_the_right_shape(data: bytes, deflate: bool) -> None:
    wire = WireFormat((WireTensor("f", "uint8", (1, 8)),), deflate)
    try:
        assert wire.decode(data)["f"].shape == (1, 8)
    except WireError:
        assert deflate or len(data) != 8


def test_a_bomb_is_not_unpacked() -> None:
    import zlib

    bomb = zlib.compress(bytes(10_000_000), 9)
    with pytest.raises(WireError, match="more follows"):
        WireFormat((WireTensor("f", "uint8", (1, 8)),), deflate=True).decode(bomb)
