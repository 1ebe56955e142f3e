"""The gRPC interface: PredictionService and ModelService."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from isthmus.protocol import DEFAULT_SIGNATURE
from isthmus.server.config import models_from_proto
from isthmus.server.errors import ServingError, StartError
from isthmus.server.manager import ModelManager
from isthmus.server.prediction import Predictor

_SIGNATURE_DEF = "signature_def"
_RELOAD_TIMEOUT_SECONDS = 600.0
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def grpc_server(predictor: Predictor, executor: ThreadPoolExecutor, *, allow_reload: bool) -> grpc.Server:
    """A server with both services, on no port yet. allow_reload: clients may say which models are served."""
    server = grpc.server(executor, options=_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(predictor), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(predictor.manager, allow_reload), server)
    return server


def _answer(context: grpc.ServicerContext, work: Callable[[], _T]) -> _T:
    """work's result; a ServingError becomes the call's status."""
    try:
        return work()
    except ServingError as error:
        context.abort(grpc.StatusCode[error.code], error.message)
    except Exception:
        _log.exception("gRPC call failed")
        context.abort(grpc.StatusCode.INTERNAL, "internal error of the server; its log has the details")
    raise AssertionError("abort raises")


def _asked(spec: Any) -> tuple[int | None, str | None]:
    """Version and label of a ModelSpec."""
    choice = spec.WhichOneof("version_choice")
    return (spec.version.value if choice == "version" else None, spec.version_label if choice == "version_label" else None)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict and GetModelMetadata; the other calls are UNIMPLEMENTED."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the stub's name
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(context, lambda: self._metadata(request))

    def _refuse(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the embedded server has Predict and GetModelMetadata only")

    Classify = Regress = MultiInference = _refuse

    def _predict(self, request: Any) -> Any:
        began = time.perf_counter()
        name = _model_name(request)
        version, bundle = self._predictor.manager.find(name, *_asked(request.model_spec))
        status = "OK"
        try:
            signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = bundle.signatures.get(signature_name)
            if signature is None:
                raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{signature_name}" not found.')
            _check_names(request, signature)
            inputs = {key: _array(key, request.inputs[key]) for key in signature.inputs}
            outputs = self._predictor.run(name, bundle, signature_name, inputs)
            response = predict_pb2.PredictResponse()
            _fill_spec(response.model_spec, name, version, signature_name)
            for key in request.output_filter or outputs:
                response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
            return response
        except ServingError as error:
            status = error.code
            raise
        finally:
            self._predictor.metrics.predicted(name, "GRPC", status, time.perf_counter() - began)

    def _metadata(self, request: Any) -> Any:
        name = _model_name(request)
        if not request.metadata_field:
            raise ServingError("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        for metadata_field in request.metadata_field:
            if metadata_field != _SIGNATURE_DEF:
                raise ServingError("INVALID_ARGUMENT", f"Metadata field {metadata_field} is not supported")
        version, bundle = self._predictor.manager.find(name, *_asked(request.model_spec))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, name, version, "")
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=bundle.signature_defs)
        response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, manager: ModelManager, allow_reload: bool) -> None:
        self._manager = manager
        self._allow_reload = allow_reload

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(context, lambda: self._status(request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(context, lambda: self._reload(request))

    def _status(self, request: Any) -> Any:
        name = _model_name(request)
        version, label = _asked(request.model_spec)
        if label is not None:
            version, _ = self._manager.find(name, label=label)
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._manager.statuses(name, version):
            entry = response.model_version_status.add(version=status.version, state=status.state)
            entry.status.error_code = grpc.StatusCode[status.error_code].value[0]
            entry.status.error_message = status.error_message
        return response

    def _reload(self, request: Any) -> Any:
        """Serve the models of the request from now on; answers when they are available."""
        if not self._allow_reload:  # who may call this may have any file read and written with the server's rights
            raise ServingError("PERMISSION_DENIED", "HandleReloadConfigRequest is switched off; --enable_reload_config switches it on")
        try:
            self._manager.apply(models_from_proto(request.config))
            self._manager.wait_until_available(_RELOAD_TIMEOUT_SECONDS)
        except StartError as error:
            raise ServingError("INVALID_ARGUMENT", str(error)) from None
        return model_management_pb2.ReloadConfigResponse()


def _model_name(request: Any) -> str:
    if not request.HasField("model_spec"):
        raise ServingError("INVALID_ARGUMENT", "Missing ModelSpec")
    return str(request.model_spec.name)


def _fill_spec(spec: Any, name: str, version: int, signature_name: str) -> None:
    spec.name, spec.version.value, spec.signature_name = name, version, signature_name


def _check_names(request: Any, signature: Any) -> None:
    sent, expected = set(request.inputs), set(signature.inputs)
    if sent != expected:
        extra, missing = (",".join(sorted(names)) for names in (sent - expected, expected - sent))
        raise ServingError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(sent)}!={len(expected)} Sent extra: {{{extra}}}. "
            f"Missing but required: {{{missing}}}.",
        )
    for name in request.output_filter:
        if name not in signature.outputs:
            known = ",".join(sorted(signature.outputs))
            raise ServingError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{known}}}.",
            )


def _array(name: str, tensor: Any) -> Any:
    try:
        array = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise ServingError("INVALID_ARGUMENT", f"tensor parsing error: {name}: {error}") from None
    return np.asarray(array)
