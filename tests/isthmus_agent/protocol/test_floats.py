import ctypes
import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.protocol.floats import float64_text, float_texts

_LIBC = ctypes.CDLL(None)


def printf(form: bytes, value: float) -> str:
    buffer = ctypes.create_string_buffer(400)
    _LIBC.snprintf(buffer, ctypes.c_size_t(400), form, ctypes.c_double(value))
    return buffer.value.decode()


def expected(value: np.floating) -> str:
    """What the C library prints, by the rule in the module's docstring."""
    wide = float(value)
    text = printf(b"%g", wide)
    if type(value)(text) != value:
        text = printf(b"%.9g" if value.itemsize == 4 else b"%.17g", wide)
    return text if "." in text or "e" in text else text + ".0"


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=50))
def test_floats_are_what_printf_prints(values):
    array = np.array(values, np.float32)
    assert float_texts(array) == [expected(value) for value in array]


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
def test_doubles_are_what_printf_prints(values):
    array = np.array(values, np.float64)
    assert float_texts(array) == [expected(value) for value in array]


@given(values=st.lists(st.floats(width=32), max_size=50))
def test_floats_read_back_as_the_same_number(values):
    array = np.array(values, np.float32)
    back = np.array([json.loads(text) for text in float_texts(array)], np.float32)
    np.testing.assert_array_equal(back, array)
    assert np.array_equal(np.signbit(back[~np.isnan(back)]), np.signbit(array[~np.isnan(array)]))


@given(value=st.floats())
def test_doubles_read_back_as_the_same_number(value):
    back = json.loads(float64_text(value))
    assert isinstance(back, float)
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_each_form_once():
    values = np.array([0.1, 1, 1e-7, 617284000, 740740737, np.nan, -np.inf, np.inf, -0.0, 3.4028235e38, 1e-45], np.float32)
    texts = "0.1 1.0 1e-07 6.17284e+08 740740736.0 NaN -Infinity Infinity -0.0 3.40282347e+38 1.4013e-45"
    assert float_texts(values) == texts.split()


def test_finite_doubles_whose_sum_overflows_stay_numbers():
    assert float_texts(np.array([1.7e308, 1.7e308])) == ["1.7e+308", "1.7e+308"]
