"""Answers to requests: TensorFlow Serving's calls on one model, and `/healthz`."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping

from isthmus_agent.formats.answers import ANSWERED_BY, DEVICE, HEALTH_PATH
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
from isthmus_agent.server.histogram import Histogram
from isthmus_agent.server.http import Request
from isthmus_agent.server.model import InterpreterError, Model

ANSWERED_HERE = f"{ANSWERED_BY}: {DEVICE}\r\n"
_METHODS = {"classify": "classification", "regress": "regression"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Service:
    """One model's answers, counted. about: what `/healthz` says besides. content: the digest of the bundle."""

    def __init__(self, model: Model, content: str, about: Mapping[str, str]) -> None:
        self._model, self._content, self._about = model, content, about
        self._requests = self._errors = 0
        self._times = Histogram()
        self._calls: dict[str, Callable[[Route, bytes], Reply]] = {
            "status": self._status,
            "metadata": self._metadata,
            "predict": self._predict,
            "classify": self._other,
            "regress": self._other,
        }

    def figures(self) -> dict[str, int | None]:
        """What was counted since the start, and the memory that is used now."""
        with open("/proc/self/statm", encoding="ascii") as statm:
            rss_bytes = int(statm.read().split()[1]) * _PAGE_BYTES
        return {
            "requests": self._requests,
            "errors": self._errors,
            "p95_microseconds": self._times.quantile(95),
            "rss_bytes": rss_bytes,
        }

    def answer(self, request: Request) -> tuple[Reply, str]:
        """The answer, and headers of its own. Never raises."""
        try:
            if request.target == HEALTH_PATH and request.method in ("GET", "HEAD"):
                return self._health(), ""
            route = parse_path(request.method, request.target)
            reply = self._calls[route.call](route, request.body)
            return reply, ANSWERED_HERE if route.call == "predict" else ""
        except RestError as error:
            return error.reply, ""
        except MemoryError:
            return RestError(503, "there is not enough memory for this request").reply, ""
        except Exception as error:
            sys.stderr.write(f"a request failed: {type(error).__name__} {str(error)[:200]!r}\n")
            return RestError(500, "internal error; the agent's log has it").reply, ""

    def _health(self) -> Reply:
        manifest = self._model.manifest
        document = {
            **self._about,
            "model": manifest.model,
            "state": "serving",
            "digest": manifest.digest,
            "version": manifest.version,
            "content": self._content,
        }
        return Reply(200, json.dumps(document).encode())

    def _check(self, route: Route) -> None:
        """Whether a route means this model. Raises RestError (404, 400)."""
        manifest = self._model.manifest
        if route.label is not None:
            raise RestError(400, f"Unrecognized servable version label: {route.label}")
        if route.model != manifest.model or route.version not in {None, manifest.version}:
            which = f"Latest({route.model})" if route.version is None else f"Specific({route.model}, {route.version})"
            raise RestError(404, f"Servable not found for request: {which}")

    def _status(self, route: Route, _: bytes) -> Reply:
        try:
            self._check(route)
        except RestError as error:
            if error.status != 404:
                raise
            raise RestError(404, f"Could not find any versions of model {route.model}") from None
        return Reply(200, render_status([VersionStatus(self._model.manifest.version, "AVAILABLE")]))

    def _metadata(self, route: Route, _: bytes) -> Reply:
        self._check(route)
        manifest = self._model.manifest
        signatures = {manifest.signature: signature_json(self._model.signature)}
        return Reply(200, render_metadata(route.model, manifest.version, signatures))

    def _other(self, route: Route, _: bytes) -> Reply:
        self._check(route)
        method = _METHODS[route.call]
        raise RestError(
            400, f"Expected {method} signature method_name to be tensorflow/serving/{route.call}. Was: tensorflow/serving/predict"
        )

    def _predict(self, route: Route, body: bytes) -> Reply:
        self._check(route)
        began = time.monotonic_ns()
        self._requests += 1
        is_answered = False
        try:
            request = parse_predict(body, {self._model.manifest.signature: self._model.signature})
            content = render_predict(self._model.predict(request.inputs), request.row)
            is_answered = True
        except InterpreterError as error:
            raise RestError(500, str(error)) from error
        finally:
            self._errors += not is_answered
        self._times.add((time.monotonic_ns() - began) // 1000)
        return Reply(200, content)
