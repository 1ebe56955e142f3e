"""Pulumi's ResourceProvider protocol over a table of handlers, whose properties are described by a `ResourceSpec`."""

import contextlib
import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2

from isthmus.errors import IsthmusError, Problem
from isthmus.plugin import schema
from isthmus.plugin.engine import Engine
from isthmus.plugin.handler import Context, Handler, PartlyMadeError, describe
from isthmus.plugin.replies import Failure, check_failures, diff_response, half_made, token_and_name
from isthmus.plugin.schema import MAKING
from isthmus.plugin.servicing import ServicerBase
from isthmus.plugin.values import UNKNOWN, Path, Properties, decode, encode, outermost, redact, secret_strings

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAKING_BYTES: Final = 8
_NO_SETTINGS: Final = (
    "the isthmus plugin has no settings. Pulumi passes a stack's settings `isthmus:NAME` to it: where they are the program's own, "
    "name the project in Pulumi.yaml something else than isthmus"
)


class Servicer(ServicerBase):
    """Serves the handlers of one package.

    package: its name in type tokens. version: semver. handlers: by type token.
    """

    def __init__(self, package: str, version: str, handlers: Mapping[str, Handler], engine: Engine) -> None:
        super().__init__(package, version, engine)
        self._handlers = handlers

    # What the plugin is.

    async def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        specs = [handler.spec for handler in self._handlers.values()]
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema.package_schema(self._package, self._version, specs)))

    async def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        known = {"version", "pluginDownloadURL", "name"}
        unknown = [name for name in request.news.fields if name not in known and not name.startswith("__")]
        failures = [provider_pb2.CheckFailure(property=name, reason=_NO_SETTINGS) for name in unknown]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    async def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    # What it does with resources.

    async def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        return await self._call(context, request, lambda call: call.check())

    async def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return await self._call(context, request, lambda call: call.diff())

    async def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:
        return await self._call(context, request, lambda call: call.create())

    async def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:
        return await self._call(context, request, lambda call: call.read())

    async def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:
        return await self._call(context, request, lambda call: call.update())

    async def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:
        return await self._call(context, request, lambda call: call.delete())

    async def Construct(self, request: Any, context: Any) -> provider_pb2.ConstructResponse:
        message = f"{request.type} is a component of the Python package isthmus; it is not offered to other languages yet"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, message)
        raise AssertionError("abort returned")

    async def _call(self, context: Any, request: Any, method: Callable[["_Call"], T]) -> T:
        """Runs one method of a handler in a thread, and aborts the call with one clear message where it fails."""
        token, _ = token_and_name(request.urn)
        if token not in self._handlers:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{token} is not a resource of the {self._package} plugin {self._version}")
        call = _Call(self._handlers[token], request, self._engine, self._cancelled)
        return await self._run(context, call.context, lambda: method(call), call.partial_failure)


class _Call:
    """One request about one resource: the wire's values on one side, the handler's on the other."""

    def __init__(self, handler: Handler, request: Any, engine: Engine, cancelled: threading.Event) -> None:
        self._handler = handler
        self._request = request
        self._secrets: frozenset[Path] = handler.spec.secret_paths
        self.context = Context(request.urn, cancelled, getattr(request, "timeout", 0.0) or None)
        self.context.progress = lambda message: engine.log("info", redact(message, self.context.secrets), request.urn, ephemeral=True)
        self.context.warn = lambda message: engine.log("warning", redact(message, self.context.secrets), request.urn)
        self._last: Properties = {}

    def _decoded(self, field: str) -> Properties:
        plain, paths = decode(getattr(self._request, field))
        self._secrets |= paths
        self.context.secrets |= secret_strings(plain, paths | self._handler.spec.secret_paths)
        return {name: value for name, value in plain.items() if not name.startswith("__")}

    def _encoded(self, *properties: Mapping[str, Any]) -> struct_pb2.Struct:
        merged: Properties = {}
        for some in properties:
            merged.update(some)
        return encode(merged, outermost(self._secrets))

    def check(self) -> provider_pb2.CheckResponse:
        old = self._decoded("olds")
        # Only what the new inputs mark is secret in them.
        self._secrets = self._handler.spec.secret_paths
        new = self._handler.spec.with_defaults(self._decoded("news"))
        self.context.secret_properties = frozenset(str(path[0]) for path in self._secrets)
        found: list[Problem] = schema.problems(self._handler.spec, new)
        if not found:
            found = list(self._handler.check(new, old, self.context))
        return provider_pb2.CheckResponse(inputs=self._encoded(new), failures=check_failures(found, self.context.secrets))

    def diff(self) -> provider_pb2.DiffResponse:
        state, new = self._decoded("olds"), self._decoded("news")
        old = self._decoded("old_inputs") if self._request.HasField("old_inputs") else state
        first = self._handler.deletes_before_replace(state, new)
        return diff_response(self._handler.diff(state, old, new), self._request.ignoreChanges, deletes_before_replace=first)

    def create(self) -> provider_pb2.CreateResponse:
        inputs = self._last = self._decoded("properties")
        if self._request.preview:
            return provider_pb2.CreateResponse(properties=self._encoded(inputs, self._handler.preview(inputs, None), {MAKING: UNKNOWN}))
        self.context.making = secrets.token_hex(_MAKING_BYTES)
        try:
            created = self._handler.create(inputs, self.context)
        except PartlyMadeError as error:
            with contextlib.suppress(IsthmusError, OSError):  # the update that tries again marks it
                self._handler.mark(error.id, inputs, self.context)
            raise
        try:
            self._handler.mark(created.id, inputs, self.context)
        except (IsthmusError, OSError) as error:
            raise PartlyMadeError([f"it was made, and cannot be marked: {describe(error)}"], created.outputs, created.id) from error
        return provider_pb2.CreateResponse(id=created.id, properties=self._encoded(inputs, created.outputs, self._making))

    @property
    def _making(self) -> Properties:
        return {MAKING: self.context.making or None}

    def read(self) -> provider_pb2.ReadResponse:
        state, inputs = self._decoded("properties"), self._decoded("inputs")
        found = self._handler.read(self._request.id, state, inputs, self.context)
        if found is None:
            return provider_pb2.ReadResponse()
        self._secrets |= found.secrets
        self.context.making = state.get(MAKING) or ""
        if not state:  # an import
            self.context.making = self._handler.marked(self._request.id, found.inputs, self.context)
        properties = self._encoded(found.inputs, found.outputs, self._making)
        return provider_pb2.ReadResponse(id=self._request.id, properties=properties, inputs=self._encoded(found.inputs))

    def update(self) -> provider_pb2.UpdateResponse:
        state = self._decoded("olds")
        self._secrets = self._handler.spec.secret_paths
        inputs = self._last = self._decoded("news")
        self.context.making = state.get(MAKING) or ""
        if self._request.preview:
            return provider_pb2.UpdateResponse(properties=self._encoded(inputs, self._handler.preview(inputs, state), self._making))
        outputs = self._handler.update(self._request.id, state, inputs, self.context)
        if self.context.making:
            self._handler.mark(self._request.id, inputs, self.context)
        return provider_pb2.UpdateResponse(properties=self._encoded(inputs, outputs, self._making))

    def delete(self) -> empty_pb2.Empty:
        state = self._decoded("properties")
        self.context.making = state.get(MAKING) or ""
        marked = self._handler.marked(self._request.id, state, self.context)
        if marked in {"", self.context.making}:
            self._handler.delete(self._request.id, state, self.context)
        else:
            logger.info("%s: a later making of it is there, and stays", self.context.urn)
        return empty_pb2.Empty()

    def partial_failure(self, error: PartlyMadeError) -> Failure:
        reasons = [redact(reason, self.context.secrets) for reason in error.reasons]
        id = error.id or getattr(self._request, "id", "")
        return half_made(id, self._encoded(self._last, error.outputs, self._making), self._encoded(self._last), reasons)
