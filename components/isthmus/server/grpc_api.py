"""The gRPC interface: PredictionService, ModelService, and what TensorFlow Serving adds to them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from isthmus.server.bundle import Bundle
from isthmus.server.config import models_from_proto
from isthmus.server.errors import ServingError, StartError, invalid
from isthmus.server.examples import check_classification, check_regression, classify, no_signature, regress, serialized_input
from isthmus.server.grpc_calls import Calls
from isthmus.server.grpc_predict import Predict, asked_version, fill_spec, model_name, sent
from isthmus.server.limits import MAX_BODY_BYTES, MAX_GRPC_CALLS, STALLED_SECONDS, Budget
from isthmus.server.prediction import CLASSIFY, PREDICT, REGRESS, Predictor
from isthmus_agent.protocol import DEFAULT_SIGNATURE

_SIGNATURE_DEF = "signature_def"
_RELOAD_TIMEOUT_SECONDS = 600.0
_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"
_HEALTHY_SERVICES = ("ModelService", "PredictionService")  # as TensorFlow Serving names them, and the server as a whole
_CLASSIFY_METHOD, _REGRESS_METHOD = "tensorflow/serving/classify", "tensorflow/serving/regress"


class GrpcApi:
    """Both services.

    Args:
        budget: for the messages of all calls.
        allow_reload: clients may say which models are served.
        as_content: outputs are sent as bytes, not in the value fields of their types.
    """

    def __init__(self, predictor: Predictor, budget: Budget, *, allow_reload: bool = False, as_content: bool = False) -> None:
        self._predictor = predictor
        self._manager = predictor.manager
        self._budget = budget
        self._allow_reload = allow_reload
        self._as_content = as_content

    def server(self, max_connections: int, *, with_health: bool) -> grpc.aio.Server:
        """A server on no port yet. with_health: it has the standard health service."""
        options = [
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.per_message_decompression", 0),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.server_handshake_timeout_ms", int(STALLED_SECONDS * 1000)),
        ]
        calls = Calls(self._predictor, self._budget)
        predict = Predict(self._predictor, as_content=self._as_content)
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_GRPC_CALLS)
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    _PREDICTION,
                    {
                        "Predict": calls.method(predict_pb2.PredictRequest, predict, PREDICT, predict.recall),
                        "Classify": calls.method(classification_pb2.ClassificationRequest, self._classify, CLASSIFY),
                        "Regress": calls.method(regression_pb2.RegressionRequest, self._regress, REGRESS),
                        "MultiInference": calls.method(inference_pb2.MultiInferenceRequest, self._multi_inference),
                        "GetModelMetadata": calls.method(get_model_metadata_pb2.GetModelMetadataRequest, self._metadata),
                    },
                ),
                grpc.method_handlers_generic_handler(
                    _MODEL,
                    {
                        "GetModelStatus": calls.method(get_model_status_pb2.GetModelStatusRequest, self._status),
                        "HandleReloadConfigRequest": calls.method(model_management_pb2.ReloadConfigRequest, self._reload),
                    },
                ),
            )
        )
        names = [service.full_name for module in (prediction_service_pb2, model_service_pb2) for service in _services(module)]
        if with_health:
            servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
            for name in ("", *_HEALTHY_SERVICES):
                servicer._server_status[name] = health_pb2.HealthCheckResponse.SERVING
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            names += [service.full_name for service in _services(health_pb2)]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
        return server

    # The methods.

    def _classify(self, request: Any, _: bytes) -> Awaitable[bytes]:
        return self._answer_examples(request, CLASSIFY, classification_pb2.ClassificationResponse())

    def _regress(self, request: Any, _: bytes) -> Awaitable[bytes]:
        return self._answer_examples(request, REGRESS, regression_pb2.RegressionResponse())

    def _answer_examples(self, request: Any, api: str, response: Any) -> Awaitable[bytes]:
        name, signature_name = model_name(request), request.model_spec.signature_name
        version, bundle = self._manager.find(name, *asked_version(request.model_spec))
        check, work, fill = _EXAMPLES[api]

        def answer() -> bytes:
            check(bundle, signature_name or DEFAULT_SIGNATURE, no_signature)
            fill_spec(response.model_spec, name, version, signature_name or DEFAULT_SIGNATURE)
            fill(response.result, self._predictor.timed(api, name, bundle, work, signature_name, serialized_input(request.input)))
            return sent(response)

        return self._predictor.in_thread(answer)

    def _multi_inference(self, request: Any, _: bytes) -> Awaitable[bytes]:
        first = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec
        version, bundle = self._manager.find(first.name, *asked_version(first))

        def work() -> bytes:
            _check_tasks(request, bundle)
            examples, run = serialized_input(request.input), self._predictor.runner(bundle)
            response = inference_pb2.MultiInferenceResponse()
            for task in request.tasks:
                result = response.results.add()
                signature_name = task.model_spec.signature_name
                fill_spec(result.model_spec, task.model_spec.name, version, signature_name or DEFAULT_SIGNATURE)
                if task.method_name == _CLASSIFY_METHOD:
                    _fill_classes(result.classification_result, classify(run, bundle, signature_name, examples))
                else:
                    _fill_values(result.regression_result, regress(run, bundle, signature_name, examples))
            self._predictor.metrics.had_examples(first.name, len(examples))
            return sent(response)

        return self._predictor.in_thread(work)

    def _metadata(self, request: Any, _: bytes) -> bytes:
        name = model_name(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for metadata_field in request.metadata_field:
            if metadata_field != _SIGNATURE_DEF:
                raise invalid(f"Metadata field {metadata_field} is not supported")
        version, bundle = self._manager.find(name, *asked_version(request.model_spec))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = name, version
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=bundle.signature_defs)
        response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return sent(response)

    def _status(self, request: Any, _: bytes) -> bytes:
        name = model_name(request)
        version = asked_version(request.model_spec)[0]  # a label is ignored, as TensorFlow Serving does
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._manager.statuses(name, version):
            entry = response.model_version_status.add(version=status.version, state=status.state)
            entry.status.error_code = grpc.StatusCode[status.error_code].value[0]
            entry.status.error_message = status.error_message
        return sent(response)

    async def _reload(self, request: Any, _: bytes) -> bytes:
        """Serve the models of the request from now on; answers when they are available."""
        if not self._allow_reload:  # who may call this may have any file read and written with the server's rights
            raise ServingError("PERMISSION_DENIED", "HandleReloadConfigRequest is switched off; --enable_reload_config switches it on")
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
            )
        try:
            self._manager.apply(models_from_proto(request.config))
            await asyncio.to_thread(self._manager.wait_until_available, _RELOAD_TIMEOUT_SECONDS)
        except StartError as error:
            raise invalid(str(error)) from None
        return sent(model_management_pb2.ReloadConfigResponse())


def _services(module: Any) -> list[Any]:
    return list(module.DESCRIPTOR.services_by_name.values())


def _check_tasks(request: Any, bundle: Bundle) -> None:
    seen: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if task.method_name == _CLASSIFY_METHOD:
            check_classification(bundle, name, _not_requested)
        elif task.method_name == _REGRESS_METHOD:
            check_regression(bundle, name, _not_requested)
        elif name not in bundle.signatures:
            raise _not_requested(name)
        else:
            raise ServingError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")


def _not_requested(name: str) -> ServingError:
    return invalid(f"Requested signature not found in model graph: {name}")


def _fill_classes(result: Any, results: Any) -> None:
    for classes in results:
        entry = result.classifications.add()
        for label, score in classes:
            try:
                entry.classes.add(label=label.decode(), score=score)
            except UnicodeDecodeError:
                raise ServingError("INTERNAL", "a label is no text") from None


def _fill_values(result: Any, values: Any) -> None:
    for value in values.tolist():
        result.regressions.add(value=value)


_EXAMPLES: Mapping[str, tuple[Callable[..., None], Callable[..., Any], Callable[..., None]]] = {
    CLASSIFY: (check_classification, classify, _fill_classes),
    REGRESS: (check_regression, regress, _fill_values),
}
