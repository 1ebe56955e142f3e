"""TensorProto messages into arrays and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytestmark = pytest.mark.slow

NUMBERS = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
COMPLEX = {"complex64": "DT_COMPLEX64", "complex128": "DT_COMPLEX128"}


def arrays():
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    numbers = st.sampled_from([*NUMBERS, *COMPLEX]).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), shapes))
    return st.one_of(numbers, hnp.arrays(object, shapes, elements=st.binary(max_size=4), fill=st.nothing()))


def info_of(array):
    from isthmus_agent.protocol import TensorInfo

    name = "string" if array.dtype == object else array.dtype.name
    return TensorInfo(COMPLEX.get(name, name), None)


@given(array=arrays(), as_content=st.booleans())
def test_what_is_written_is_read_by_us_and_by_tensorflow(array, as_content):
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    from isthmus.server.tensors import fill, to_array

    message = tensor_pb2.TensorProto()
    fill(message, array, as_content=as_content)
    message = tensor_pb2.TensorProto.FromString(message.SerializeToString())
    for back in (to_array("x", message, info_of(array)), tf.make_ndarray(message)):
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)


@given(array=arrays())
def test_what_tensorflow_writes_is_read(array):
    import tensorflow as tf

    from isthmus.server.tensors import to_array

    message = tf.make_tensor_proto(array)
    if array.dtype == object:
        message.dtype = 7
    np.testing.assert_array_equal(to_array("x", message, info_of(array)), array)


@pytest.mark.parametrize(("held", "expected"), [([], [0, 0, 0]), ([1.5], [1.5, 1.5, 1.5]), ([1, 2], [1, 2, 2]), ([1, 2, 3, 4], [1, 2, 3])])
def test_missing_values_are_the_last_one_and_extra_ones_are_left_out(held, expected):
    from tensorflow.core.framework import tensor_pb2

    from isthmus.server.tensors import to_array
    from isthmus_agent.protocol import TensorInfo

    message = tensor_pb2.TensorProto(dtype=1, float_val=held)
    message.tensor_shape.dim.add(size=3)
    assert to_array("x", message, TensorInfo("float32", None)).tolist() == expected


def test_many_values_are_packed_as_few_are():
    from tensorflow.core.framework import tensor_pb2

    from isthmus.server.tensors import fill, to_array

    for dtype in ("float32", "float64", "int32"):
        array = np.arange(100_000).astype(dtype)
        message = tensor_pb2.TensorProto()
        fill(message, array)
        np.testing.assert_array_equal(to_array("x", message, info_of(array)), array)


def test_strings_may_be_in_one_piece():
    from tensorflow.core.framework import tensor_pb2

    from isthmus.server.errors import ServingError
    from isthmus.server.tensors import to_array
    from isthmus_agent.protocol import TensorInfo

    message = tensor_pb2.TensorProto(dtype=7, tensor_content=b"\x02\x00\x81\x01" + b"ab" + b"c" * 129)
    message.tensor_shape.dim.add(size=3)
    assert to_array("x", message, TensorInfo("string", None)).tolist() == [b"ab", b"", b"c" * 129]
    for damaged in (b"\x02\x00", b"\x02\x00\x00a", b"\x02\x00\x00abc", b"\xff" * 30):
        message.tensor_content = damaged
        with pytest.raises(ServingError, match="tensor parsing error: x"):
            to_array("x", message, TensorInfo("string", None))
