"""What a predict call does, whichever interface it came through."""

import time
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from isthmus.protocol import RestError, Route, parse_predict, render_predict
from isthmus.server.bundle import Bundle
from isthmus.server.errors import ServingError
from isthmus.server.manager import ModelManager
from isthmus.server.metrics import Metrics

Array = npt.NDArray[Any]

_BRIEF_BODY_BYTES = 16 * 1024


class Predictor:
    """Finds the model, runs it, counts it. Blocks while the model runs."""

    def __init__(self, manager: ModelManager, metrics: Metrics) -> None:
        self.manager = manager
        self.metrics = metrics

    def run(self, model: str, bundle: Bundle, signature_name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One run of a model. Raises ServingError."""
        began = time.perf_counter()
        outputs = bundle.run(signature_name, inputs)
        self.metrics.ran(model, time.perf_counter() - began)
        return outputs

    def is_brief(self, route: Route, body: bytes) -> bool:
        """Whether a REST predict call will be over in about a millisecond, as far as can be told."""
        if len(body) > _BRIEF_BODY_BYTES:
            return False
        return self.manager.find(route.model, route.version, route.label)[1].brief

    def predict_rest(self, route: Route, body: bytes) -> bytes:
        """The reply's body to a REST predict call. Raises RestError."""
        began = time.perf_counter()
        _, bundle = self.manager.find(route.model, route.version, route.label)
        status = "OK"
        try:
            request = parse_predict(body, bundle.signatures)
            outputs = self.run(route.model, bundle, request.signature_name, request.inputs)
            return render_predict(outputs, request.row)
        except RestError as error:
            status = error.code if isinstance(error, ServingError) else "INVALID_ARGUMENT"
            raise
        finally:
            seconds = time.perf_counter() - began
            bundle.took(seconds)
            self.metrics.predicted(route.model, "REST", status, seconds)
