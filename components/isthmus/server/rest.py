"""The REST interface."""

import asyncio
import logging
import zlib
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from isthmus.protocol import Reply, RestError, Route, parse_path, render_metadata, render_status
from isthmus.server.errors import ServingError
from isthmus.server.metrics import CONTENT_TYPE
from isthmus.server.prediction import Predictor

MAX_BODY_BYTES = 1 << 30
_GZIP_WINDOW = 31
_log = logging.getLogger(__name__)


class RestApi:
    """Answers HTTP requests; one `handle` for all paths and methods.

    Args:
        executor: where predictions run that would hold up the event loop.
        timeout_seconds: of one call; then 504.
        metrics_path: path of the Prometheus metrics; None: not served.
    """

    def __init__(self, predictor: Predictor, executor: ThreadPoolExecutor, timeout_seconds: float, metrics_path: str | None) -> None:
        self._predictor = predictor
        self._executor = executor
        self._timeout_seconds = timeout_seconds
        self._metrics_path = metrics_path

    def http_server(self) -> web.Server:
        """What the event loop's `create_server` takes."""
        # auto_decompress is off because what is wrong with a body must be answered in the API's own form.
        return web.Server(self.handle, request_factory=_request, auto_decompress=False, access_log=None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The reply to any request; never raises for what a client did."""
        try:
            reply = await self._answer(request)
        except RestError as error:
            reply = error.reply
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, request.raw_path)
            reply = RestError(500, "internal error of the server; its log has the details").reply
        return web.Response(status=reply.status, body=reply.body, headers={"Content-Type": reply.content_type})

    async def _answer(self, request: web.BaseRequest) -> Reply:
        body = await _body(request)  # read in any case, so that the connection can go on
        path = request.raw_path
        if self._metrics_path is not None and request.method == "GET" and path.partition("?")[0] == self._metrics_path:
            return Reply(200, self._predictor.metrics.render(), CONTENT_TYPE)
        route = parse_path(request.method, path)
        if route.call == "predict":
            return Reply(200, await self._predict(route, body))
        return Reply(200, self._describe(route))

    async def _predict(self, route: Route, body: bytes) -> bytes:
        if self._predictor.is_brief(route, body):
            # Passing a call to a thread and back takes longer than a small model does: measured, a third of the throughput.
            return self._predictor.predict_rest(route, body)
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._predictor.predict_rest, route, body)
        try:
            return await asyncio.wait_for(work, self._timeout_seconds)
        except TimeoutError:
            raise ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification") from None

    def _describe(self, route: Route) -> bytes:
        manager = self._predictor.manager
        if route.call == "status":
            return render_status(manager.statuses(route.model, route.version))
        version, bundle = manager.find(route.model, route.version, route.label)
        if route.call == "metadata":
            return render_metadata(route.model, version, bundle.signatures)
        raise ServingError("INVALID_ARGUMENT", f"the embedded server has no :{route.call}; use :predict, with tf.Example as b64 strings")


def _request(message: object, payload: object, protocol: object, writer: object, task: object) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)  # type: ignore[arg-type]


async def _body(request: web.BaseRequest) -> bytes:
    """The request's body, decompressed; empty where it claims to be gzip and is not. Raises RestError (413)."""
    if not request.can_read_body:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RestError(413, f"the request's body has more than {MAX_BODY_BYTES} bytes") from None
    if request.headers.get("Content-Encoding", "").lower() != "gzip":
        return body
    return await asyncio.get_running_loop().run_in_executor(None, _gunzip, body)


def _gunzip(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        text = decompressor.decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        return b""
    if decompressor.unconsumed_tail:
        raise RestError(413, f"the request's body has more than {MAX_BODY_BYTES} bytes")
    return text
