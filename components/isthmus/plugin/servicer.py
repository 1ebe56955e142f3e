"""Pulumi's ResourceProvider protocol over the table of handlers.

Handlers block, so each call runs in a thread; the loop stays free to take a Cancel at any time. Whatever a handler raises
becomes one message for the user, with every secret of the call taken out of it.
"""

import asyncio
import contextlib
import errno
import json
import logging
import secrets
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from isthmus.errors import GateError, InputError, IsthmusError, Problem, ResourceFullError, StoreError
from isthmus.plugin import schema
from isthmus.plugin.engine import Engine
from isthmus.plugin.handler import Context, Handler, PartlyMadeError, StoppedWaitingError, describe
from isthmus.plugin.replies import THREADS, half_made, property_diff, token_and_name
from isthmus.plugin.schema import MAKING
from isthmus.plugin.values import UNKNOWN, Path, Properties, decode, encode, outermost, property_path, redact, secret_strings

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAKING_BYTES: Final = 8
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_SETTINGS: Final = (
    "the isthmus plugin has no settings. Pulumi passes a stack's settings `isthmus:NAME` to it: where they are the program's own, "
    "name the project in Pulumi.yaml something else than isthmus"
)

# Which gRPC status an error of ours becomes, the first match counts. None of them is Internal, DataLoss or Unknown: those
# would tell the engine that nobody knows whether the resource exists.
_CODES: Final[tuple[tuple[type[Exception], grpc.StatusCode], ...]] = (
    (StoppedWaitingError, grpc.StatusCode.CANCELLED),
    (GateError, grpc.StatusCode.FAILED_PRECONDITION),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (StoreError, grpc.StatusCode.UNAVAILABLE),
    (ResourceFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (IsthmusError, grpc.StatusCode.FAILED_PRECONDITION),
)


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Serves the handlers of one package.

    package: its name in type tokens. version: semver. handlers: by type token.
    """

    def __init__(self, package: str, version: str, handlers: Mapping[str, Handler], engine: Engine) -> None:
        self._package = package
        self._version = version
        self._handlers = handlers
        self._engine = engine
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="handler")

    def cancel(self) -> None:
        """Ends every waiting handler; each reports what exists by then."""
        self._cancelled.set()

    # What the plugin is.

    async def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:  # noqa: N802
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self._version)

    async def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:  # noqa: N802
        specs = [handler.spec for handler in self._handlers.values()]
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema.package_schema(self._package, self._version, specs)))

    async def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802
        known = {"version", "pluginDownloadURL", "name"}
        unknown = [name for name in request.news.fields if name not in known and not name.startswith("__")]
        failures = [provider_pb2.CheckFailure(property=name, reason=_NO_SETTINGS) for name in unknown]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    async def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:  # noqa: N802
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        self.cancel()
        return empty_pb2.Empty()

    # What it does with resources.

    async def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802
        return await self._call(context, request, lambda call: call.check())

    async def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802
        return await self._call(context, request, lambda call: call.diff())

    async def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:  # noqa: N802
        return await self._call(context, request, lambda call: call.create())

    async def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:  # noqa: N802
        return await self._call(context, request, lambda call: call.read())

    async def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:  # noqa: N802
        return await self._call(context, request, lambda call: call.update())

    async def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        return await self._call(context, request, lambda call: call.delete())

    async def Construct(self, request: Any, context: Any) -> provider_pb2.ConstructResponse:  # noqa: N802
        message = f"{request.type} is a component of the Python package isthmus; it is not offered to other languages yet"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, message)
        raise AssertionError("abort returned")

    async def _call(self, context: Any, request: Any, method: Callable[["_Call"], T]) -> T:
        """Runs one method of a handler in a thread, and aborts the call with one clear message where it fails."""
        token, _ = token_and_name(request.urn)
        if token not in self._handlers:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{token} is not a resource of the {self._package} plugin {self._version}")
        call = _Call(self._handlers[token], request, self._engine, self._cancelled)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, method, call)
        except PartlyMadeError as error:
            await context.abort(*call.partial_failure(error))
        except IsthmusError as error:
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            await context.abort(code, redact(str(error), call.context.secrets))
        except OSError as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if error.errno in _FULL else grpc.StatusCode.FAILED_PRECONDITION
            await context.abort(code, redact(describe(error), call.context.secrets))
        except Exception as error:
            trace = redact(traceback.format_exc(), call.context.secrets)
            self._engine.log("debug", trace, request.urn)
            message = redact(f"{type(error).__name__}: {error}", call.context.secrets)
            await context.abort(grpc.StatusCode.INTERNAL, f"internal error of the {self._package} plugin: {message}")
        raise AssertionError("abort returned")


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
        # The failure's own `property` stays empty: for one that is set the engine prints the whole value, secrets included.
        failures = [provider_pb2.CheckFailure(reason=redact(str(problem), self.context.secrets)) for problem in found]
        return provider_pb2.CheckResponse(inputs=self._encoded(new), failures=failures)

    def diff(self) -> provider_pb2.DiffResponse:
        state, new = self._decoded("olds"), self._decoded("news")
        old = self._decoded("old_inputs") if self._request.HasField("old_inputs") else state
        ignored = set(self._request.ignoreChanges)
        changes = [c for c in self._handler.diff(state, old, new) if not {property_path(c.path), str(c.path[0])} & ignored]
        replaces = sorted({str(change.path[0]) for change in changes if change.replaces})
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if changes else none,
            replaces=replaces,
            diffs=sorted({str(change.path[0]) for change in changes}),
            deleteBeforeReplace=bool(replaces) and self._handler.deletes_before_replace(state, new),
            detailedDiff={property_path(change.path): property_diff(change) for change in changes},
            hasDetailedDiff=True,
        )

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

    def partial_failure(self, error: PartlyMadeError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
        reasons = [redact(reason, self.context.secrets) for reason in error.reasons]
        id = error.id or getattr(self._request, "id", "")
        return half_made(id, self._encoded(self._last, error.outputs, self._making), self._encoded(self._last), reasons)
