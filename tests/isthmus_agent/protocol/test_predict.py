"""Requests and replies of the predict call."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus_agent.protocol import RestError, Signature, TensorInfo, parse_predict, render_predict
from isthmus_agent.protocol import request as request_module
from isthmus_agent.protocol.dtypes import element_type
from isthmus_agent.protocol.errors import unimplemented

NUMBERS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]
DTYPES = [*NUMBERS, "bool", "string"]


def signatures(**dtypes: str) -> dict[str, Signature]:
    infos = {name: TensorInfo(dtype, None) for name, dtype in dtypes.items()}
    return {"serving_default": Signature(infos, infos)}


def arrays(dtype: str, min_dims: int = 0) -> st.SearchStrategy:
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=1, max_side=4)
    if dtype == "string":
        return hnp.arrays(object, shapes, elements=st.binary(max_size=8), fill=st.nothing())
    return hnp.arrays(np.dtype(dtype), shapes)


named_arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: st.tuples(st.just(dtype), arrays(dtype, min_dims=1)))


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


@given(first=named_arrays, second=named_arrays, row=st.booleans())
def test_a_rendered_reply_can_be_sent_back_as_a_request(first, second, row):
    (dtype_a, a), (dtype_b, b) = first, second
    if row:
        batch = min(len(a), len(b))
        a, b = a[:batch], b[:batch]
    names = {"a_bytes": dtype_a, "b_bytes": dtype_b}
    reply = render_predict({"a_bytes": a, "b_bytes": b}, row)
    theirs, ours = ("predictions", "instances") if row else ("outputs", "inputs")
    request = parse_predict(reply.replace(theirs.encode(), ours.encode(), 1), signatures(**names))
    assert request.row is row
    same(request.inputs["a_bytes"], a)
    same(request.inputs["b_bytes"], b)


@given(named=named_arrays, row=st.booleans())
def test_a_single_tensor_needs_no_name(named, row):
    dtype, array = named
    reply = render_predict({"x_bytes": array}, row)
    value = json.loads(reply)["predictions" if row else "outputs"]
    assert not isinstance(value, dict)
    body = json.dumps({"instances" if row else "inputs": value}).encode()
    same(parse_predict(body, signatures(x_bytes=dtype)).inputs["x_bytes"], array)


json_leaves = st.one_of(st.integers(-300, 300), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
json_keys = st.sampled_from(["x", "y", "b64"])
json_values = st.recursive(
    json_leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(json_keys, inner, max_size=3)),
)


@given(
    dtypes=st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([*DTYPES, "float16", "uint16", "DT_COMPLEX64"]), min_size=1),
    value=json_values,
    key=st.sampled_from(["instances", "inputs"]),
)
def test_the_fast_way_and_the_walk_agree(dtypes, value, key):
    body = json.dumps({key: value}).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_module, "read_numbers", lambda *_: None)
        walked = outcome(body, signatures(**dtypes))
    fast = outcome(body, signatures(**dtypes))
    if isinstance(walked, dict) and isinstance(fast, dict):
        assert walked.keys() == fast.keys()
        for name in walked:
            same(fast[name], walked[name])
    else:
        assert fast == walked


def outcome(body: bytes, known: dict[str, Signature]):
    """The inputs, or how the body is refused; nothing else may happen."""
    try:
        return parse_predict(body, known).inputs
    except RestError as error:
        return error.status, error.message


@given(body=st.binary())
def test_any_bytes_are_read_or_refused(body):
    assert isinstance(outcome(body, signatures(x="float32")), dict | tuple)


def read(body: str, **dtypes: str) -> np.ndarray:
    return parse_predict(body.encode("utf-8", "surrogateescape"), signatures(**(dtypes or {"x": "float32"}))).inputs["x"]


def refused(body: str, **dtypes: str) -> str:
    with pytest.raises(RestError) as caught:
        read(body, **dtypes)
    return caught.value.message


def test_narrow_integers_keep_the_low_bits_as_tensorflow_serving_does():
    assert read('{"inputs": [300, -1]}', x="uint8").tolist() == [44, 255]
    assert "is not of expected type: uint8" in refused('{"inputs": [2147483648]}', x="uint8")


def test_integers_keep_all_their_digits():
    assert read('{"inputs": [9007199254740993]}', x="int64").tolist() == [9007199254740993]
    assert read('{"inputs": [18446744073709551615]}', x="uint64").tolist() == [2**64 - 1]
    assert "int64" in refused('{"inputs": [9223372036854775808]}', x="int64")


@pytest.mark.parametrize("value", ["true", "[1, true]", '"1"', '[1, "1"]', "null", "[null]", "[{}]"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_is_no_number_is_refused_for_numbers(value, dtype):
    assert "is not of expected type" in refused(f'{{"inputs": {value}}}', x=dtype)


@pytest.mark.parametrize("value", ["1", "[0, true]", '"true"'])
def test_only_booleans_are_booleans(value):
    assert "is not of expected type: bool" in refused(f'{{"inputs": {value}}}', x="bool")


def test_numbers_beyond_a_double_are_refused_and_beyond_a_float_are_infinite():
    assert "Number too big" in refused('{"inputs": [1e400]}')
    assert "Number too big" in refused('{"inputs": [1' + "0" * 400 + "]}")
    assert np.isinf(read('{"inputs": [1e39, Infinity]}')).all()


def test_lists_of_different_lengths_say_where():
    assert refused('{"inputs": [[1, 2], [3]]}') == "Encountered list at unexpected size: 1 at level: 1 expected size: 2"
    assert refused('{"inputs": [[1], 2]}') == "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"
    assert refused('{"inputs": [1, [2]]}') == "Encountered list at unexpected level: 1 expected < 1"


def test_a_refusal_survives_the_way_to_another_process():
    for error in (RestError(404, "gone", "NOT_FOUND"), RestError(400, ""), unimplemented("no")):
        back = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(back), back.status, back.message, back.code) == (RestError, error.status, error.message, error.code)


def test_deep_nesting_is_refused():
    for depth in (70, 500, 100_000):
        assert refused('{"inputs": ' + "[" * depth + "1" + "]" * depth + "}")


@pytest.mark.parametrize(("text", "data"), [("aGk=", b"hi"), ("aGk", b"hi"), (" aG\\nk= ", b"hi"), ("", b"")])
def test_base64_may_lack_padding_and_hold_white_space(text, data):
    assert read(f'{{"inputs": [{{"b64": "{text}"}}]}}', x="string").tolist() == [data]


def test_strings_keep_bytes_that_are_no_text():
    assert read('{"inputs": ["\udcff"]}', x="string").tolist() == [b"\xff"]
    reply = render_predict({"s": np.array([b"\xff"], object)}, False)
    assert b'"\xff"' in reply
    assert refused('{"inputs": ["\\ud800"]}', x="string").startswith("JSON Parse error")


def test_long_values_are_cut_in_error_texts():
    assert len(refused(json.dumps({"instances": "x" * 100_000}))) < 5000


@pytest.mark.parametrize(
    ("dtype", "name"), [("float16", "half"), ("uint16", "uint16"), ("DT_COMPLEX64", "complex64"), ("DT_BFLOAT16", "bfloat16")]
)
def test_a_type_without_a_json_form_is_refused(dtype, name):
    with pytest.raises(RestError) as caught:
        read('{"inputs": [1]}', x=dtype)
    assert (caught.value.status, caught.value.message) == (501, f"Conversion of JSON Value: 1 to type: {name}")
    with pytest.raises(RestError) as caught:
        read('{"instances": [1]}', x=dtype)
    assert caught.value.status == 400
    assert caught.value.message.endswith(f"Error: UNIMPLEMENTED: Conversion of JSON Value: 1 to type: {name}")
    assert refused('{"inputs": {"x": {"y": 1}}}', x=dtype).endswith(f"Type: Object is not of expected type: {name}")


@pytest.mark.parametrize(
    ("array", "name"), [(np.zeros(1, np.float16), "half"), (np.zeros(1, np.uint16), "uint16"), (np.zeros(1, np.complex64), "complex64")]
)
def test_an_output_of_a_type_without_a_json_form_is_refused(array, name):
    for row in (True, False):
        with pytest.raises(RestError, match=f"Failed to write JSON value for tensor type: {name}"):
            render_predict({"y": array}, row)
        assert render_predict({"y": array[:0]}, row)  # nothing is written of it


def test_of_members_with_one_name_the_first_counts():
    assert read('{"inputs": [1], "inputs": [2]}').tolist() == [1]
    assert read('{"signature_name": "serving_default", "signature_name": 5, "inputs": {"x": [1], "x": "a"}}').tolist() == [1]


def test_rows_with_one_name_twice_give_their_values_in_order_until_the_shape_is_full():
    assert read('{"instances": [{"x": 1, "x": 2}]}').tolist() == [1]
    assert read('{"instances": [{"x": 1, "x": 2}, {"x": 3}]}').tolist() == [1, 2]
    assert "is not of expected type: float" in refused('{"instances": [{"x": 1, "x": "a"}]}')
    assert refused('{"instances": [{"x": 1, "x": [2]}]}').endswith("Expecting shape [] but got: [1]")


def test_a_body_that_is_no_json_is_told_before_a_model_that_is_missing():
    missing = RestError(404, "Servable not found for request: Latest(m)")
    for body, message in ((b"{", "JSON Parse error"), (b"{}", "Servable not found"), (b'{"signature_name": 1}', "must be a string")):
        with pytest.raises(RestError, match=message):
            parse_predict(body, missing)


def test_what_is_shown_of_a_value_ends_with_the_token_that_passes_256_bytes():
    text = refused(json.dumps({"instances": {"x": list(range(1000))}}))
    shown = text.removeprefix("JSON Value: ").removesuffix(" Expecting 'instances' to be an list/array")
    assert shown.startswith('{\n    "instances": {\n        "x": [0, 1, 2')
    assert 256 <= len(shown) < 256 + 8
    assert shown.endswith((", 58", ", 59"))


def test_inf_is_a_number_and_stays_text_in_strings():
    assert read('{"inputs": [Inf, -Inf, Infinity, -Infinity]}').tolist() == [np.inf, -np.inf, np.inf, -np.inf]
    assert read('{"inputs": ["Inf \\" Inf"], "other": Inf}', x="string").tolist() == [b'Inf " Inf']


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_not():
    assert read('{"inputs": ["\\ud83d\\ude00"]}', x="string").tolist() == ["\U0001f600".encode()]
    assert read('{"inputs": ["\\\\ud83d"]}', x="string").tolist() == [b"\\ud83d"]
    for text in ("\\ud83d", "\\udcff", "\\ud83dx", "\\ud83d\\ud83d"):
        assert refused(f'{{"inputs": ["{text}"]}}', x="string").startswith("JSON Parse error")


def test_only_the_white_space_of_json_may_stand_before_a_document():
    assert read(' \t\r\n{"inputs": [1]}').tolist() == [1]
    assert refused('\xa0{"inputs": [1]}').startswith("JSON Parse error")


def test_rows_need_outputs_of_one_batch_size():
    with pytest.raises(RestError, match="has no shape information"):
        render_predict({"y": np.float32(1) * np.ones(())}, True)
    with pytest.raises(RestError, match="inconsistent batch size: 2 expecting: 1"):
        render_predict({"a": np.zeros(1), "b": np.zeros(2)}, True)
    with pytest.raises(RestError, match="empty tensor map"):
        render_predict({}, True)


@given(shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=2))
def test_empty_dimensions_show_as_empty_lists(shape):
    assume(0 in shape)
    array = np.zeros(shape, np.float32)
    assert json.loads(render_predict({"y": array}, True))["predictions"] == array.tolist()
    assert json.loads(render_predict({"y": array}, False))["outputs"] == array.tolist()


def test_every_dtype_here_is_known():
    assert all(element_type(dtype) for dtype in DTYPES)
