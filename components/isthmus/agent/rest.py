"""The device's REST server: TensorFlow Serving's calls on the release that is current, and `/healthz`."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy.typing as npt
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from isthmus.agent.config import AgentConfig
from isthmus.agent.fallback import Cloud, confidence
from isthmus.agent.model import InterpreterError, Model
from isthmus.agent.state import State
from isthmus_agent.formats.answers import ANSWERED_BY, HEALTH_PATH
from isthmus_agent.protocol import (
    Reply,
    RestError,
    Route,
    VersionStatus,
    parse_path,
    parse_predict,
    render_metadata,
    render_predict,
    render_status,
    signature_json,
)

DEVICE, CLOUD = "device", "cloud"
MAX_BODY_BYTES = 64 << 20
_LOGGED_CHARACTERS = 200
_METHODS = {"classify": "classification", "regress": "regression"}
_LOG = logging.getLogger(__name__)


class _InOneLine(logging.Filter):
    """What a client sent that is no HTTP is no mistake of the server's: a line says so, without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            words = " ".join(str(error).split())[:_LOGGED_CHARACTERS]
            record.msg, record.args, record.exc_info = f"{record.getMessage()}: {words}", (), None
        return True


_IN_ONE_LINE = _InOneLine()


class RestServer:
    """Answers from the model in `state`; asks the cloud role where a fallback is configured."""

    def __init__(self, config: AgentConfig, state: State) -> None:
        self._config = config
        self._state = state
        self._cloud = Cloud(config.fallback, config.model) if config.fallback else None
        # One thread: the interpreter answers one request at a time, and waiting must not block the loop.
        self._interpreter_thread = ThreadPoolExecutor(1, "interpreter")
        self._calls: dict[str, Callable[[Route, web.Request], Any]] = {
            "status": self._status,
            "metadata": self._metadata,
            "predict": self._predict,
            "classify": self._other,
            "regress": self._other,
        }

    def application(self) -> web.Application:
        """The aiohttp application; its cleanup ends the server's threads and connections."""
        logging.getLogger("aiohttp.server").addFilter(_IN_ONE_LINE)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get(HEALTH_PATH, self._health)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._interpreter_thread.shutdown(wait=False, cancel_futures=True)
        if self._cloud:
            await self._cloud.close()

    async def _health(self, _: web.Request) -> web.Response:
        """Whether the agent is alive; `state` tells whether it has something to serve."""
        model = self._state.model
        document = {
            "device": self._config.device,
            "fleet": self._config.fleet,
            "model": self._config.model,
            "state": "serving" if model else "empty",
            "digest": model.manifest.digest if model else None,
            "version": model.manifest.version if model else None,
        }
        return web.Response(text=json.dumps(document), content_type="application/json")

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            route = parse_path(request.method, request.raw_path)
            return await self._calls[route.call](route, request)  # type: ignore[no-any-return]
        except RestError as error:
            return _response(error.reply)
        except web.HTTPRequestEntityTooLarge:
            return _response(RestError(413, f"the request is larger than {MAX_BODY_BYTES} bytes").reply)
        except (ConnectionError, asyncio.IncompleteReadError, web.RequestPayloadError) as error:
            # Nobody reads this answer any more, unless the body was no valid one.
            _LOG.info("a client went away, or its body broke off (%s)", type(error).__name__)
            return _response(RestError(400, "the request's body is not complete").reply)
        except web.HTTPException as error:
            return _response(RestError(error.status, error.text or error.reason).reply)
        except Exception:
            _LOG.exception("a request failed")
            return _response(RestError(500, "internal error; the agent's log has it").reply)

    def _model(self, route: Route) -> Model | None:
        """The model that a route means; None where it is ours and nothing is loaded yet. Raises RestError (404, 400)."""
        if route.label is not None:
            raise RestError(400, f"Unrecognized servable version label: {route.label}")
        model = self._state.model
        loaded = model.manifest.version if model else None
        if route.model != self._config.model or (model and route.version not in {None, loaded}):
            which = f"Latest({route.model})" if route.version is None else f"Specific({route.model}, {route.version})"
            raise RestError(404, f"Servable not found for request: {which}")
        return model

    async def _status(self, route: Route, _: web.Request) -> web.Response:
        try:
            model = self._model(route)
        except RestError as error:
            model = None
            if error.status != 404:
                raise
        if model is None:
            raise RestError(404, f"Could not find any versions of model {route.model}")
        return _response(Reply(200, render_status([VersionStatus(model.manifest.version, "AVAILABLE")])))

    async def _metadata(self, route: Route, _: web.Request) -> web.Response:
        model = self._model(route)
        if model is None:
            raise RestError(404, f"Could not find any versions of model {route.model}")
        manifest = model.manifest
        return _response(Reply(200, render_metadata(route.model, manifest.version, {manifest.signature: signature_json(model.signature)})))

    async def _other(self, route: Route, _: web.Request) -> web.Response:
        self._model(route)
        raise RestError(
            400,
            f"Expected {_METHODS[route.call]} signature method_name to be tensorflow/serving/{route.call}. Was: tensorflow/serving/predict",
        )

    async def _predict(self, route: Route, request: web.Request) -> web.Response:
        model = self._model(route)
        body = await request.read()
        counters = self._state.counters
        counters.requests += 1
        try:
            answer, answered_by = await self._answer(model, body)
        except BaseException:
            counters.errors += 1
            raise
        if answered_by == CLOUD:
            counters.answered_by_cloud += 1
        else:
            counters.answered_by_device += 1
        return _response(Reply(200, answer), {ANSWERED_BY: answered_by})

    async def _answer(self, model: Model | None, body: bytes) -> tuple[bytes, str]:
        """The answer and who gave it. Raises RestError where nobody has one, or where the request is wrong."""
        try:
            if model is None:
                raise InterpreterError(f"no release of {self._config.model} is loaded on this device yet")
            outputs, row = await asyncio.get_running_loop().run_in_executor(self._interpreter_thread, _run, model, body)
        except InterpreterError as error:
            _LOG.warning("%s", error)
            answer = await self._ask_cloud(body)
            if answer is None:
                raise RestError(503 if model is None else 500, str(error)) from error
            return answer, CLOUD
        if self._cloud:
            sure = confidence(outputs)
            if sure is not None and sure < self._cloud.min_confidence:
                answer = await self._ask_cloud(body)
                if answer is not None:
                    return answer, CLOUD
        return render_predict(outputs, row), DEVICE

    async def _ask_cloud(self, body: bytes) -> bytes | None:
        if self._cloud is None:
            return None
        answer = await self._cloud.predict(body)
        if answer is None:
            self._state.counters.cloud_unavailable += 1
        return answer


def _run(model: Model, body: bytes) -> tuple[Mapping[str, npt.NDArray[Any]], bool]:
    """Outputs, and whether the row form was asked. Parsing large bodies takes time: it belongs off the loop as well."""
    request = parse_predict(body, {model.manifest.signature: model.signature})
    return model.predict(request.inputs), request.row


def _response(reply: Reply, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers={**(headers or {}), "Content-Type": reply.content_type})
