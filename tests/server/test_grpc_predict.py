"""Messages of Predict that are like an earlier one, and those that only seem to be."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


class Model:
    """Stands for a loaded model: negates its two inputs."""

    def __init__(self):
        from isthmus_agent.protocol import Signature, TensorInfo

        info = {"x": TensorInfo("float32", None, "x:0"), "k": TensorInfo("float64", None, "k:0")}
        self.signatures = {"serving_default": Signature(inputs=info, outputs={"x": info["x"], "k": info["k"]}, method_name="")}
        self.defaults = {"serving_default": {}}


@pytest.fixture
def method():
    """Predict on a model of which every call is short."""
    return make_method()


def make_method():
    from isthmus.server.grpc_predict import Predict

    model = Model()
    return Predict(
        SimpleNamespace(
            manager=SimpleNamespace(find=lambda name, version, label: (version or 1, model)),
            runs_here=lambda bundle, signature_name, inputs: True,
            run=lambda name, bundle, signature_name, inputs: {key: -array for key, array in inputs.items()},
        ),
        as_content=False,
    )


def message(x=(1.5, 2.5, 3.5), k=(4.5,), *, name="m", as_content=False, output_filter=()) -> bytes:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name = name
    for key, values, dtype, field in (("x", x, np.float32, "float_val"), ("k", k, np.float64, "double_val")):
        tensor = request.inputs[key]
        tensor.dtype = {np.float32: 1, np.float64: 2}[dtype]
        tensor.tensor_shape.dim.add(size=len(values))
        if as_content:
            tensor.tensor_content = np.array(values, dtype).tobytes()
        else:
            getattr(tensor, field).extend(values)
    return request.SerializeToString(deterministic=True)


def read(data: bytes):
    from tensorflow_serving.apis import predict_pb2

    return predict_pb2.PredictRequest.FromString(data)


def answered(data: bytes) -> dict[str, list[float]]:
    from tensorflow_serving.apis import predict_pb2

    outputs = predict_pb2.PredictResponse.FromString(data).outputs
    return {"x": list(outputs["x"].float_val), "k": list(outputs["k"].double_val)}


@pytest.mark.parametrize("as_content", [False, True])
def test_a_message_with_other_numbers_is_known_and_answered_as_one_that_is_read(method, as_content):
    assert method.recall(message(as_content=as_content)) is None
    first = message(as_content=as_content)
    method(read(first), first)
    other = message((7, 8, float("inf")), (9,), as_content=as_content)
    known = method.recall(other)
    assert known.name == "m"
    assert known.answer() == make_method()(read(other), other)
    assert answered(known.answer()) == {"x": [-7, -8, -float("inf")], "k": [-9]}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "n"},
        {"x": (1, 2)},
        {"x": (1, 2, 3, 4)},
        {"k": ()},
        {"output_filter": ["x"]},
    ],
)
def test_a_message_that_asks_something_else_has_to_be_read(method, other):
    first = message()
    method(read(first), first)
    assert method.recall(message(**other)) is None


def test_numbers_that_look_like_a_name_are_not_taken_for_it(method):
    name = np.array([1.5], np.float64).tobytes().decode("latin-1")  # the numbers of k, as far as text can have them
    first = message(k=(1.5,), name=name)
    method(read(first), first)
    for other in (message(k=(2.5,), name=name), message(k=(1.5,), name="\x01" + name[1:])):
        known = method.recall(other)
        assert known is None or known.answer() == make_method()(read(other), other)


@given(as_content=st.booleans(), position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_whatever_byte_is_changed_a_known_message_asks_what_it_would_if_it_were_read(as_content, position, byte):
    method = make_method()
    first = message(as_content=as_content)
    method(read(first), first)
    assert method.recall(first) is not None
    other = bytearray(first)
    other[position % len(other)] = byte
    other = bytes(other)
    known = method.recall(other)
    if known is not None:
        assert known.answer() == make_method()(read(other), other)


# dtype, its number in TensorFlow, and the field its values are sent in.
KINDS = [("uint8", 4, "int_val"), ("int8", 6, "int_val"), ("bool", 10, "bool_val"), ("int32", 3, "int_val"), ("int64", 9, "int64_val")]


def small(kind: tuple[str, int, str], values: list[int], *, as_content: bool) -> bytes:
    """A message of one small tensor."""
    from tensorflow_serving.apis import predict_pb2

    dtype, number, field = kind
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = number
    tensor.tensor_shape.dim.add(size=3)
    if as_content:
        tensor.tensor_content = np.array(values).astype(dtype).tobytes()
    else:
        getattr(tensor, field).extend(values)
    return request.SerializeToString()


def replied(method, data: bytes):
    """The reply to a message that is read, or the error."""
    from isthmus.server.errors import ServingError

    try:
        return method(read(data), data)
    except ServingError as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
@pytest.mark.parametrize("as_content", [False, True])
@given(first=st.lists(st.integers(0, 3), min_size=3, max_size=3), values=st.lists(st.integers(0, 255), min_size=1, max_size=4))
def test_numbers_that_are_sent_in_more_or_fewer_bytes_are_not_taken_for_others(kind, as_content, first, values):
    from isthmus_agent.protocol import Signature, TensorInfo

    def method():
        found = make_method()
        model, info = found._predictor.manager.find("m", None, None)[1], {"x": TensorInfo(kind[0], None, "x:0")}
        model.signatures = {"serving_default": Signature(inputs=info, outputs=info, method_name="")}
        # Outputs are large where inputs are small, and negative where their type allows it.
        found._predictor.run = lambda name, bundle, signature_name, inputs: {"x": ~inputs["x"] if inputs["x"][0] else inputs["x"]}
        return found

    learnt = method()
    begin = small(kind, first, as_content=as_content)
    learnt(read(begin), begin)
    other = small(kind, values, as_content=as_content)
    known = learnt.recall(other)
    if known is not None:
        assert known.answer() == replied(method(), other)


def test_a_model_that_was_unloaded_is_not_remembered(method):
    first = message()
    method(read(first), first)
    successor = Model()
    method._predictor.manager.find = lambda name, version, label: (2, successor)
    assert method.recall(first) is None


def test_of_messages_that_nothing_can_be_learnt_from_few_are_tried(method, monkeypatch):
    from isthmus.server import grpc_predict

    tried = []
    monkeypatch.setattr(grpc_predict.Mould, "of", lambda *_: tried.append(1))
    first = message()
    for _ in range(200):
        method(read(first), first)
    assert len(tried) <= 10
