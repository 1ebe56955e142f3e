"""What a prediction does, whichever interface it came through.

Calls that are short whatever their bytes are run where they arrive, on the event loop: passing work to a Python thread
and back costs more than a small model takes. All others read, run and write on threads, or in the helper process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from isthmus.server.batching import Batcher, BatchingParameters
from isthmus.server.bundle import Bundle
from isthmus.server.errors import ServingError
from isthmus.server.examples import Run, classify, regress, serialized
from isthmus.server.helper import Helper
from isthmus.server.limits import (
    MAX_BODY_BYTES_IN_THREAD,
    MAX_BODY_BYTES_ON_LOOP,
    MAX_ELEMENTS_IN_THREAD,
    MAX_ELEMENTS_ON_LOOP,
    MAX_OUTPUT_BYTES,
)
from isthmus.server.manager import ModelManager
from isthmus.server.metrics import Metrics
from isthmus.server.rest_examples import parse_examples, render_classifications, render_regressions
from isthmus.server.tensors import Array, Arrays
from isthmus_agent.protocol import PredictRequest, RestError, Route, Signature, parse_predict, render_predict

_T = TypeVar("_T")

PREDICT, CLASSIFY, REGRESS = "Predict", "Classify", "Regress"


class Predictor:
    """Finds the model, runs it, times it.

    Args:
        executor: where predictions run that would hold up the event loop.
        batching: how calls are run together; None: each for itself.
    """

    def __init__(
        self, manager: ModelManager, metrics: Metrics, executor: ThreadPoolExecutor, batching: BatchingParameters | None = None
    ) -> None:
        self.manager = manager
        self.metrics = metrics
        self._executor = executor
        self._helper = Helper()
        self._batcher = Batcher(batching, metrics) if batching else None
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Ends the helper process and the batches."""
        self._helper.close()
        if self._batcher is not None:
            self._batcher.close()

    def runs_here(self, bundle: Bundle, signature_name: str, inputs: Mapping[str, Array]) -> bool:
        """Whether the event loop runs this call itself."""
        return self._batcher is None and bundle.is_brief(signature_name, inputs)

    def rest(self, route: Route, body: bytes | bytearray) -> bytes | Awaitable[bytes]:
        """The reply's body to a REST predict, classify or regress call, at once where it takes no time. Raises RestError."""
        if route.call != "predict":
            return self._examples(route, body)
        if len(body) > MAX_BODY_BYTES_ON_LOOP:
            return self._predict(route, body)
        bundle = self._find(route)
        request = parse_predict(body, _signatures(bundle))
        if isinstance(bundle, ServingError):
            raise bundle
        if not self.runs_here(bundle, request.signature_name, request.inputs):
            return self._run_and_render(route, bundle, request)
        outputs = self.run(route.model, bundle, request.signature_name, request.inputs)
        if elements(outputs) > MAX_ELEMENTS_ON_LOOP or _has_strings(outputs):
            return self._render(outputs, request.row)
        return render_predict(outputs, request.row)

    def run(self, model: str, bundle: Bundle, signature_name: str, inputs: Mapping[str, Array]) -> Arrays:
        """One run of a model, on this thread. Raises ServingError."""
        began = time.perf_counter()
        outputs = bundle.run(signature_name, inputs)
        self.metrics.ran(model, PREDICT, time.perf_counter() - began)
        return check_size(outputs)

    async def run_later(self, model: str, bundle: Bundle, signature_name: str, inputs: Arrays) -> Arrays:
        """The same on a thread, together with other calls where that is asked for."""
        if self._batcher is not None:
            began = time.perf_counter()
            outputs = await self._batcher.run(bundle, signature_name, inputs)
            self.metrics.ran(model, PREDICT, time.perf_counter() - began)
            return check_size(outputs)
        return await self.in_thread(self.run, model, bundle, signature_name, inputs)

    async def in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """work's result, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _find(self, route: Route) -> Bundle | ServingError:
        """The model, or why there is none: a body that is no JSON is told first."""
        try:
            return self.manager.find(route.model, route.version, route.label)[1]
        except ServingError as error:
            return error

    async def _predict(self, route: Route, body: bytes | bytearray) -> bytes:
        bundle = self._find(route)
        if len(body) > MAX_BODY_BYTES_IN_THREAD:
            request = await self._helper.parse_predict(body, _signatures(bundle))
        else:
            request = await self.in_thread(parse_predict, body, _signatures(bundle))
        if isinstance(bundle, ServingError):
            raise bundle
        return await self._run_and_render(route, bundle, request)

    async def _run_and_render(self, route: Route, bundle: Bundle, request: PredictRequest) -> bytes:
        outputs = await self.run_later(route.model, bundle, request.signature_name, request.inputs)
        return await self._render(outputs, request.row)

    async def _render(self, outputs: Arrays, row: bool) -> bytes:
        if elements(outputs) <= MAX_ELEMENTS_ON_LOOP and not _has_strings(outputs):
            return render_predict(outputs, row)
        if elements(outputs) > MAX_ELEMENTS_IN_THREAD:
            return await self._helper.render_predict(outputs, row)
        return await self.in_thread(render_predict, outputs, row)

    async def _examples(self, route: Route, body: bytes | bytearray) -> bytes:
        if len(body) > MAX_BODY_BYTES_IN_THREAD:
            request = await self._helper.parse_examples(body)
        else:
            request = await self.in_thread(parse_examples, body)
        _, bundle = self.manager.find(route.model, route.version, route.label)

        def work() -> bytes:
            examples = serialized(request)
            if route.call == "classify":
                return render_classifications(self.timed(CLASSIFY, route.model, bundle, classify, request.signature_name, examples))
            return render_regressions(self.timed(REGRESS, route.model, bundle, regress, request.signature_name, examples))

        return await self.in_thread(work)

    def timed(self, api: str, model: str, bundle: Bundle, work: Callable[..., _T], *asked: Any) -> _T:
        """What classify or regress answers, on this thread; how long that took counts as a run of the model.

        asked: the signature's name, and the examples.
        """
        began = time.perf_counter()
        result = work(self.runner(bundle), bundle, *asked)
        self.metrics.ran(model, api, time.perf_counter() - began)
        return result

    def runner(self, bundle: Bundle) -> Run:
        """How a thread runs the model: itself, or by waiting for a batch that the event loop puts together."""
        batcher = self._batcher
        if batcher is None:
            return bundle.run

        def run(signature_name: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
            return asyncio.run_coroutine_threadsafe(batcher.run(bundle, signature_name, inputs, outputs), self._loop).result()

        return run


def _signatures(bundle: Bundle | ServingError) -> Mapping[str, Signature] | RestError:
    return bundle if isinstance(bundle, ServingError) else bundle.signatures


def _has_strings(arrays: Mapping[str, Array]) -> bool:
    return any(array.dtype.hasobject for array in arrays.values())


def elements(arrays: Mapping[str, Array]) -> int:
    """How many there are in all."""
    return sum([array.size for array in arrays.values()])


def check_size(outputs: Arrays) -> Arrays:
    """The outputs. Raises ServingError where they are more than may be answered."""
    size = sum([array.nbytes for array in outputs.values()])
    if size > MAX_OUTPUT_BYTES:
        raise ServingError("RESOURCE_EXHAUSTED", f"the model's answer has {size} bytes; at most {MAX_OUTPUT_BYTES} are sent")
    return outputs
