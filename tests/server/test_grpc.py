"""The gRPC interface."""

import aiohttp
import grpc
import numpy as np
import pytest
import requests

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 30


@pytest.fixture(scope="module")
def apis():
    from tensorflow_serving import apis
    from tensorflow_serving.apis import (  # noqa: F401 - makes them attributes of apis
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

    return apis


@pytest.fixture(scope="module")
def prediction(server, apis):
    with grpc.insecure_channel(server.target) as channel:
        yield apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def model_service(server, apis):
    with grpc.insecure_channel(server.target) as channel:
        yield apis.model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture
def predict(prediction, apis):
    import tensorflow as tf

    def call(name="m", signature="", version=None, label=None, output_filter=(), **inputs):
        request = apis.predict_pb2.PredictRequest(output_filter=output_filter)
        request.model_spec.name, request.model_spec.signature_name = name, signature
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        response = prediction.Predict(request, timeout=TIMEOUT_SECONDS)
        return response.model_spec, {key: tf.make_ndarray(tensor) for key, tensor in response.outputs.items()}

    return call


X = np.array([[1, 2, 3]], np.float32)


def test_predict_answers_with_the_outputs_and_the_version_used(predict):
    spec, outputs = predict(x=X)
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 2, "serving_default")
    np.testing.assert_allclose(outputs["y"], [[22.5, 27.5]])


def test_predict_takes_a_version_or_a_label(predict):
    assert predict(version=1, x=X)[0].version.value == 1
    assert predict(label="stable", x=X)[0].version.value == 1


def test_predict_keeps_strings_with_zeros_and_bytes_that_are_no_text(predict):
    _, outputs = predict(signature="str", s=np.array([b"a\0b\0", b"\xff"], object))
    assert outputs["out_bytes"].tolist() == [b"a\0b\0", b"\xff"]
    assert outputs["length"].tolist() == [4, 1]


def test_predict_returns_only_the_outputs_that_the_filter_names(predict):
    _, outputs = predict(signature="two", output_filter=["k2"], x=X, k=np.array([7], np.int32))
    assert {key: value.tolist() for key, value in outputs.items()} == {"k2": [14]}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"name": "nope", "x": X}, "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        ({"version": 9, "x": X}, "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
        ({"label": "nope", "x": X}, "INVALID_ARGUMENT", "Unrecognized servable version label: nope"),
        ({"signature": "nope", "x": X}, "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        ({}, "INVALID_ARGUMENT", "Missing but required: {x}"),
        ({"x": X, "z": X}, "INVALID_ARGUMENT", "Sent extra: {z}"),
        ({"x": X, "output_filter": ["z"]}, "INVALID_ARGUMENT", "output tensor alias not found in signature: z"),
        ({"x": X.astype(np.float64)}, "INVALID_ARGUMENT", "float"),
        ({"x": np.zeros((1, 2), np.float32)}, "INVALID_ARGUMENT", "size-incompatible"),
    ],
)
def test_predict_refuses_with_a_code_and_a_text(predict, arguments, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        predict(**arguments)
    assert caught.value.code().name == code
    assert text in caught.value.details()


def test_a_tensor_with_too_few_values_is_refused(prediction, apis):
    request = apis.predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=3)
    request.inputs["x"].tensor_content = b"123"
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(request, timeout=TIMEOUT_SECONDS)
    assert caught.value.code().name == "INVALID_ARGUMENT"


def test_a_call_without_a_model_is_refused(prediction, apis):
    with pytest.raises(grpc.RpcError) as caught:
        prediction.Predict(apis.predict_pb2.PredictRequest(), timeout=TIMEOUT_SECONDS)
    assert caught.value.details() == "Missing ModelSpec"


def metadata_request(apis, name, *fields):
    request = apis.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return request


def test_metadata_has_every_signature(prediction, apis):
    response = prediction.GetModelMetadata(metadata_request(apis, "m", "signature_def"), timeout=TIMEOUT_SECONDS)
    signatures = apis.get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "two", "str", "scalar", "dbl"} <= set(signatures.signature_def)
    assert [dim.size for dim in signatures.signature_def["serving_default"].inputs["x"].tensor_shape.dim] == [-1, 3]


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [("m", (), "INVALID_ARGUMENT"), ("m", ("x",), "INVALID_ARGUMENT"), ("nope", ("signature_def",), "NOT_FOUND")],
)
def test_metadata_refuses_what_it_does_not_know(prediction, apis, name, fields, code):
    with pytest.raises(grpc.RpcError) as caught:
        prediction.GetModelMetadata(metadata_request(apis, name, *fields), timeout=TIMEOUT_SECONDS)
    assert caught.value.code().name == code


def status_request(apis, name, version=None):
    request = apis.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status_lists_versions_newest_first(model_service, apis):
    response = model_service.GetModelStatus(status_request(apis, "m"), timeout=TIMEOUT_SECONDS)
    states = apis.get_model_status_pb2.ModelVersionStatus.State
    assert [(s.version, states.Name(s.state), s.status.error_code) for s in response.model_version_status] == [
        (2, "AVAILABLE", 0),
        (1, "AVAILABLE", 0),
    ]


@pytest.mark.parametrize(("name", "version"), [("nope", None), ("m", 9)])
def test_status_of_what_is_not_there_is_not_found(model_service, apis, name, version):
    with pytest.raises(grpc.RpcError) as caught:
        model_service.GetModelStatus(status_request(apis, name, version), timeout=TIMEOUT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_metrics_count_calls_of_both_interfaces(server, predict):
    predict(x=X)
    requests.post(f"{server.url}/v1/models/m:predict", data='{"instances":[[1,2,3]]}', timeout=TIMEOUT_SECONDS)
    requests.post(f"{server.url}/v1/models/m:predict", data="{}", timeout=TIMEOUT_SECONDS)
    requests.post(f"{server.url}/v1/models/unknown_to_metrics:predict", data="{}", timeout=TIMEOUT_SECONDS)
    reply = requests.get(f"{server.url}/monitoring/prometheus/metrics", timeout=TIMEOUT_SECONDS)
    assert reply.headers["Content-Type"].startswith("text/plain")
    lines = reply.text.splitlines()
    for beginning in (
        ':tensorflow:serving:request_count{model_name="m",status="OK"}',
        ':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"}',
        ':tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"}',
        ':tensorflow:serving:request_latency_count{model_name="m",API="predict",entrypoint="REST"}',
        ':tensorflow:serving:request_latency_bucket{model_name="m",API="predict",entrypoint="REST",le="+Inf"}',
        ':tensorflow:serving:runtime_latency_sum{model_name="m",API="Predict",runtime="TF1"}',
    ):
        assert any(line.startswith(beginning) and float(line.split()[-1]) > 0 for line in lines), beginning
    assert "unknown_to_metrics" not in reply.text
    assert [line.split()[2].removeprefix(":tensorflow:serving:") for line in lines if line.startswith("#")] == [
        "batching_session:input_batch_size",
        "batching_session:padding_size",
        "batching_session:processed_batch_size",
        "batching_session:queuing_latency",
        "batching_session:wrapped_run_count",
        "request_count",
        "request_example_count_total",
        "request_example_counts",
        "request_latency",
        "runtime_latency",
    ]
    types = {line.split()[2].rpartition(":")[2]: line.split()[3] for line in lines if line.startswith("#")}
    assert {types["request_count"], types["request_example_count_total"]} == {"counter"}
    assert {types["request_latency"], types["runtime_latency"], types["request_example_counts"]} == {"histogram"}


def test_outputs_are_in_the_value_fields_of_their_types(prediction, apis):
    request = apis.predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "dbl"
    tensor = request.inputs["x"]
    tensor.dtype = 2
    for size in (1, 3):
        tensor.tensor_shape.dim.add(size=size)
    tensor.double_val.extend([1.5, -2.0, 3.0])
    outputs = prediction.Predict(request, timeout=TIMEOUT_SECONDS).outputs
    assert outputs["y"].double_val[:] == [1.5, -2.0, 3.0]
    assert outputs["b"].bool_val[:] == [True, False, True]
    assert outputs["i64"].int64_val[:] == [1, -2, 3]
    assert outputs["u8"].int_val[:] == [1, 254, 3]
    assert not any(output.tensor_content for output in outputs.values())


def test_status_with_a_label_is_that_of_all_versions(model_service, apis):
    request = status_request(apis, "m")
    request.model_spec.version_label = "stable"
    assert len(model_service.GetModelStatus(request, timeout=TIMEOUT_SECONDS).model_version_status) == 2


def example(**features):
    from tensorflow.core.example import example_pb2

    message = example_pb2.Example()
    for name, values in features.items():
        message.features.feature[name].float_list.value.extend(values)
    return message


def test_classify_answers_with_labels_and_scores(prediction, apis):
    request = apis.classification_pb2.ClassificationRequest()
    request.model_spec.name = "cr"
    request.input.example_list.examples.extend([example(x=[1, 2.5, 3]), example(x=[0, 0, 0])])
    response = prediction.Classify(request, timeout=TIMEOUT_SECONDS)
    assert (response.model_spec.name, response.model_spec.version.value, response.model_spec.signature_name) == ("cr", 1, "serving_default")
    first, second = ([(c.label, c.score) for c in entry.classes] for entry in response.result.classifications)
    assert first == [("a", pytest.approx(0.00150118233)), ("b", pytest.approx(0.998498797))]
    assert second == [("a", 0.5), ("b", 0.5)]


def test_regress_answers_with_a_value_for_each_example_and_a_context_belongs_to_each(prediction, apis):
    request = apis.regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "cr", "reg"
    inputs = request.input.example_list_with_context
    inputs.context.CopyFrom(example(x=[1, 2, 3]))
    inputs.examples.extend([example(), example(x=[0, 0, 0])])
    response = prediction.Regress(request, timeout=TIMEOUT_SECONDS)
    assert [entry.value for entry in response.result.regressions] == [22.0, 0.0]


def test_one_call_may_ask_several_signatures_and_its_examples_are_counted(server, prediction, apis):
    request = apis.inference_pb2.MultiInferenceRequest()
    for signature, method in (("", "classify"), ("reg", "regress")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "cr", signature
    request.input.example_list.examples.append(example(x=[1, 2, 3]))
    results = prediction.MultiInference(request, timeout=TIMEOUT_SECONDS).results
    assert [c.label for c in results[0].classification_result.classifications[0].classes] == ["a", "b"]
    assert results[1].regression_result.regressions[0].value == 22.0
    assert [result.model_spec.signature_name for result in results] == ["serving_default", "reg"]
    lines = requests.get(f"{server.url}/monitoring/prometheus/metrics", timeout=TIMEOUT_SECONDS).text.splitlines()
    assert ':tensorflow:serving:request_example_count_total{model="cr"} 1' in lines
    assert ':tensorflow:serving:request_example_counts_bucket{model="cr",le="16384"} 1' in lines


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (("Classify", "cr", "nope", 1), "No signature was found with the name: nope"),
        (("Classify", "cr", "", 0), "Input is empty."),
        (("Classify", "cr", "reg", 1), "Expected classification signature outputs to contain at least one of"),
        (("Classify", "m", "two", 1), "Expected one input Tensor."),
        (("Regress", "m", "", 1), "No regression inputs found in SignatureDef: inputs {"),
        (("Regress", "cr", "", 1), "Expected one output Tensor."),
    ],
)
def test_examples_for_a_signature_that_takes_none_are_refused(prediction, apis, asked, text):
    method, model, signature, count = asked
    module = {"Classify": apis.classification_pb2, "Regress": apis.regression_pb2}[method]
    request = getattr(module, {"Classify": "ClassificationRequest", "Regress": "RegressionRequest"}[method])()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend([example(x=[1, 2, 3])] * count)
    with pytest.raises(grpc.RpcError) as caught:
        getattr(prediction, method)(request, timeout=TIMEOUT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(text)


def test_the_health_service_answers_where_a_flag_asks_for_it(server):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ModelService", "PredictionService"):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=TIMEOUT_SECONDS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_names_the_services_and_describes_their_messages(server):
    from google.protobuf import descriptor_pool
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    with grpc.insecure_channel(server.target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= set(database.get_services())
        service = descriptor_pool.DescriptorPool(database).FindServiceByName("tensorflow.serving.PredictionService")
        assert service.FindMethodByName("Predict").input_type.full_name == "tensorflow.serving.PredictRequest"


def test_a_message_that_is_none_is_refused(server):
    with grpc.insecure_channel(server.target) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            predict(b"\xff\xff\xff", timeout=TIMEOUT_SECONDS)
    assert caught.value.details() == "the message is no PredictRequest"
    assert "Traceback" not in server.log()


@pytest.fixture
def with_default(make_models, tmp_path):
    """The model m, its signature `two` with a default for k; the signature has no default for x."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    directory = tmp_path / "m" / "1"
    make_models.make_dense(directory)
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def["two"]
    definition.defaults["k"].CopyFrom(tf.make_tensor_proto(np.array([7], np.int32)))
    (directory / "saved_model.pb").write_bytes(saved.SerializeToString())
    return tmp_path / "m"


async def test_an_input_that_is_left_out_is_the_default_of_the_signature_over_grpc_alone(apis, with_default, serve_here, free_port):
    import tensorflow as tf

    flags = ("--model_name=m", f"--model_base_path={with_default}", f"--port={free_port}")
    async with serve_here(*flags) as url, grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
        stub = apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)

        async def k2(**inputs) -> list[int]:
            request = apis.predict_pb2.PredictRequest(output_filter=["k2"])
            request.model_spec.name, request.model_spec.signature_name = "m", "two"
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            response = await stub.Predict(request, timeout=TIMEOUT_SECONDS)
            return list(response.outputs["k2"].int_val)

        for _ in range(3):  # also when such a message is known from before
            assert await k2(x=X) == [14]
            assert await k2(x=X, k=np.array([5], np.int32)) == [10]
        with pytest.raises(grpc.RpcError) as caught:
            await k2(k=np.array([5], np.int32))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no default value provided" in caught.value.details()
        with pytest.raises(grpc.RpcError) as caught:
            await k2(x=X, nope=X)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "Used request inputs: x, request input: nope,x" in caught.value.details()
        body = {"signature_name": "two", "inputs": {"x": X.tolist()}}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/models/m:predict", json=body) as reply:
            assert (reply.status, (await reply.json())["error"]) == (400, "Missing named input: k in 'inputs' object.")
