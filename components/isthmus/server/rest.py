"""The REST interface: what a request gets for a reply."""

import asyncio
import logging
import re
import time
import zlib
from collections.abc import Awaitable

from isthmus.server.errors import ServingError
from isthmus.server.http import Request
from isthmus.server.limits import MAX_DECOMPRESSED_BYTES, Budget
from isthmus.server.metrics import CONTENT_TYPE
from isthmus.server.prediction import Predictor
from isthmus_agent.protocol import Reply, RestError, Route, parse_path, render_metadata, render_status
from isthmus_agent.protocol.errors import DEFAULT_TYPE, PageError, UnknownPathError, UnsupportedMethodError, invalid
from isthmus_agent.protocol.paths import is_api_path, path_of

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_ORIGIN = re.compile(rb"https?://")
_GZIP_WINDOW = 31
_GZIP_TRAILER_BYTES = 4  # the length, at the end
_log = logging.getLogger(__name__)


class RestApi:
    """Answers HTTP requests; called with one of any path and method.

    Args:
        budget: for what compressed bodies become.
        timeout_seconds: of one call; then 504.
        metrics_path: path of the Prometheus metrics; None: not served.
    """

    def __init__(self, predictor: Predictor, budget: Budget, timeout_seconds: float, metrics_path: str | None) -> None:
        self._predictor = predictor
        self._budget = budget
        self._timeout_seconds = timeout_seconds
        self._metrics_path = metrics_path

    def __call__(self, request: Request) -> Reply | Awaitable[Reply]:
        """The reply, at once where it takes no time; never raises for what a client did."""
        began = time.perf_counter()
        route = None
        try:
            page = self._page(request)
            if page is not None:
                return page
            if request.body and b"gzip" in request.header(b"content-encoding"):
                return self._later(request, began)
            route = parse_path(request.method, request.target)
            answer = self._answer(route, request.body)
            if not isinstance(answer, bytes):
                return self._finish(route, answer, began)
            self._count(route, "OK", began)
            return Reply(200, answer)
        except RestError as error:
            self._count(route, error.code, began)
            return error.reply
        except Exception:
            return self._failed(request.method, request.target)

    def _page(self, request: Request) -> Reply | None:
        """The reply to what is not the API's. Raises RestError."""
        if request.method not in _METHODS:
            raise PageError(501, f"no method of HTTP/1.1: {request.method}")
        path = path_of(request.target)
        if self._metrics_path is not None and path.partition("?")[0].partition("#")[0] == self._metrics_path:
            if path != self._metrics_path:
                return Reply(400, f"Unexpected path: {path}. Should be {self._metrics_path}".encode(), CONTENT_TYPE)
            return Reply(200, self._predictor.metrics.render(), CONTENT_TYPE)
        if not is_api_path(path):
            raise UnknownPathError(path)
        if request.method == "OPTIONS":
            if not _ORIGIN.search(request.header(b"origin")):
                raise UnsupportedMethodError
            return Reply(200, b"", DEFAULT_TYPE)
        return None

    def _answer(self, route: Route, body: bytes | bytearray) -> bytes | Awaitable[bytes]:
        if route.call in {"predict", "classify", "regress"}:
            return self._predictor.rest(route, body)
        manager = self._predictor.manager
        if route.call == "status":
            return render_status(manager.statuses(route.model, route.version))
        version, bundle = manager.find(route.model, route.version, route.label)
        return render_metadata(route.model, version, bundle.signatures_json)

    async def _later(self, request: Request, began: float) -> Reply:
        """The reply to a request whose body is compressed."""
        size = 0
        try:
            wanted = _decompressed_size(request.body)
            if not self._budget.take(wanted):
                raise ServingError("UNAVAILABLE", "the server holds as many requests as it can; try again")
            size = wanted
            body = await asyncio.get_running_loop().run_in_executor(None, _gunzip, request.body, size)
            route = parse_path(request.method, request.target)
            answer = self._answer(route, body)
            return await self._finish(route, answer, began)
        except RestError as error:
            return error.reply
        except Exception:
            return self._failed(request.method, request.target)
        finally:
            self._budget.give(size)

    async def _finish(self, route: Route, answer: bytes | Awaitable[bytes], began: float) -> Reply:
        try:
            if not isinstance(answer, bytes):
                answer = await asyncio.wait_for(answer, self._timeout_seconds)
            code, reply = "OK", Reply(200, answer)
        except TimeoutError:
            late = ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
            code, reply = late.code, late.reply
        except RestError as error:
            code, reply = error.code, error.reply
        except Exception:
            code, reply = "INTERNAL", self._failed(route.call, route.model)
        self._count(route, code, began)
        return reply

    def _count(self, route: Route | None, code: str, began: float) -> None:
        if route is not None and self._predictor.manager.knows(route.model):
            api = route.call if route.call in {"predict", "classify", "regress"} else ""
            self._predictor.metrics.answered(route.model, api, "REST", code, time.perf_counter() - began)

    def _failed(self, method: str, target: str) -> Reply:
        _log.exception("%s %s failed", method, target[:200])
        return ServingError("INTERNAL", "internal error of the server; its log has the details").reply


def _decompressed_size(body: bytes | bytearray) -> int:
    """What a gzip body says it becomes. Raises RestError where that is too much."""
    size = int.from_bytes(body[-_GZIP_TRAILER_BYTES:], "little")
    if size <= MAX_DECOMPRESSED_BYTES:
        return size
    if body[:2] != b"\x1f\x8b":
        return 0
    raise invalid(f"JSON Parse error: the body has more than {MAX_DECOMPRESSED_BYTES} bytes when it is decompressed")


def _gunzip(body: bytes | bytearray, size: int) -> bytes:
    """The decompressed body; empty where it is not whole, or not as long as it says: as TensorFlow Serving takes it."""
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        text = decompressor.decompress(body, size + 1)
    except zlib.error:
        return b""
    return text if decompressor.eof and len(text) == size and not decompressor.unused_data else b""
