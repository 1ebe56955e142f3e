"""Pulumi's ResourceProvider protocol over a `Provider`.

Handlers block, so each call runs in a thread; the loop stays free to take a Cancel at any time. Whatever a handler raises
becomes one message for the user, with every secret of the call taken out of it.
"""

import asyncio
import json
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from toolchain.plugin.bag import Bag
from toolchain.plugin.handler import Call as CallContext
from toolchain.plugin.handler import Difference, HalfMadeError, Handler, NotCoveredError, Provider

from isthmus.errors import InputError, IsthmusError
from isthmus.plugin.engine import Engine
from isthmus.plugin.handler import StoppedWaitingError, describe
from isthmus.plugin.replies import THREADS, half_made, property_diff, token_and_name
from isthmus.plugin.values import property_path, redact

T = TypeVar("T")

# Which gRPC status an error becomes, the first match counts. None of them is Internal, DataLoss or Unknown: those would tell the
# engine that nobody knows whether the resource exists.
_CODES: Final[tuple[tuple[type[Exception], grpc.StatusCode], ...]] = (
    (StoppedWaitingError, grpc.StatusCode.CANCELLED),
    (NotCoveredError, grpc.StatusCode.UNIMPLEMENTED),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (IsthmusError, grpc.StatusCode.FAILED_PRECONDITION),
    (OSError, grpc.StatusCode.FAILED_PRECONDITION),
)


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one provider."""

    def __init__(self, provider: Provider, engine: Engine) -> None:
        self._provider = provider
        self._engine = engine
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="handler")

    def cancel(self) -> None:
        """Ends every waiting handler; each reports what exists by then."""
        self._cancelled.set()

    # What the plugin is.

    async def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    async def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._provider.version)

    async def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        # The types are those of the official SDK; nothing of them is generated from this plugin.
        schema = {"name": self._provider.package, "version": self._provider.version}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    async def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        def work(call: CallContext) -> provider_pb2.CheckResponse:
            checked = self._provider.check_settings(settings(request.news))
            return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(checked.problems, checked.inputs.secret_strings))

        return await self._run(context, CallContext(request.urn), work)

    async def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        def work(call: CallContext) -> provider_pb2.DiffResponse:
            old, new = _settings_before(request), settings(request.news)
            return _diff_response(self._provider.diff_settings(old, new), frozenset())

        return await self._run(context, CallContext(request.urn), work)

    async def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        def work(call: CallContext) -> provider_pb2.ConfigureResponse:
            given = settings(request.args)
            call.secrets |= given.secret_strings
            self._provider.configure(given)
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

        return await self._run(context, CallContext(request.urn), work)

    async def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.cancel()
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> provider_pb2.InvokeResponse:
        await self._refuse(context, f"the function {request.tok}")

    async def Call(self, request: Any, context: Any) -> provider_pb2.CallResponse:
        await self._refuse(context, f"the method {request.tok}")

    async def Construct(self, request: Any, context: Any) -> provider_pb2.ConstructResponse:
        await self._refuse(context, f"the component {request.type}")

    # What it does with resources.

    async def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        return await self._resource(context, request, _check)

    async def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return await self._resource(context, request, _diff)

    async def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:
        return await self._resource(context, request, _create)

    async def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:
        return await self._resource(context, request, _read)

    async def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:
        return await self._resource(context, request, _update)

    async def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:
        return await self._resource(context, request, _delete)

    async def _refuse(self, context: Any, what: str) -> NoReturn:
        package = self._provider.package
        fix = f"install the official plugin (`pulumi plugin install resource {package}`)"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the fall-back {package} plugin does not cover {what}. Fix: {fix}")
        raise AssertionError("abort returned")

    async def _resource(self, context: Any, request: Any, method: Callable[[Handler, Any, CallContext], T]) -> T:
        call = self._call_of(request)
        handler = self._provider.handler(call.token)
        if handler is None:
            await self._refuse(context, f"the resource type {call.token}")
        return await self._run(context, call, lambda call: method(handler, request, call), getattr(request, "id", ""))

    def _call_of(self, request: Any) -> CallContext:
        call = CallContext(request.urn, self._cancelled, getattr(request, "timeout", 0.0) or None)
        call.token, call.name = token_and_name(request.urn)
        call.progress = lambda message: self._engine.log("info", redact(message, call.secrets), request.urn, ephemeral=True)
        for field in ("olds", "news", "old_inputs", "properties", "inputs"):
            struct = getattr(request, field, None)
            if isinstance(struct, struct_pb2.Struct):
                call.secrets |= Bag.of(struct).secret_strings
        return call

    async def _run(self, context: Any, call: CallContext, work: Callable[[CallContext], T], id: str = "") -> T:
        """Runs work in a thread, and aborts the call with one clear message where it fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, call)
        except HalfMadeError as error:
            await context.abort(*_partial_failure(error, id, call.secrets))
        except (IsthmusError, OSError) as error:
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            await context.abort(code, redact(describe(error), call.secrets))
        except Exception as error:
            self._engine.log("debug", redact(traceback.format_exc(), call.secrets), call.urn)
            message = redact(f"{type(error).__name__}: {error}", call.secrets)
            await context.abort(grpc.StatusCode.INTERNAL, f"internal error of the {self._provider.package} plugin: {message}")
        raise AssertionError("abort returned")


def settings(struct: struct_pb2.Struct) -> Bag:
    """A provider's settings: the engine passes everything but strings as JSON text. Names that only the engine uses are left out."""
    bag = Bag.of(struct)
    own = {name: value for name, value in bag.values.items() if name not in ("version", "pluginDownloadURL") and not name.startswith("__")}
    return bag.replaced({name: _from_json(value) for name, value in own.items()})


def _settings_before(request: Any) -> Bag:
    return settings(request.old_inputs if request.HasField("old_inputs") else request.olds)


def _from_json(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("{", "[", "t", "f"):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, dict | list | bool) else value


def _check(handler: Handler, request: Any, call: CallContext) -> provider_pb2.CheckResponse:
    call.random_seed = request.randomSeed
    if request.HasField("autonaming"):
        call.proposed_name = request.autonaming.proposed_name
        call.names_allowed = request.autonaming.mode != provider_pb2.CheckRequest.AutonamingOptions.DISABLE
    checked = handler.check(call, Bag.of(request.olds), Bag.of(request.news))
    secrets = call.secrets | checked.inputs.secret_strings
    return provider_pb2.CheckResponse(inputs=checked.inputs.to_struct(), failures=_failures(checked.problems, secrets))


def _failures(problems: Any, secrets: frozenset[str]) -> list[provider_pb2.CheckFailure]:
    # The failure's own `property` stays empty: for one that is set the engine prints the whole value, secrets included.
    return [provider_pb2.CheckFailure(reason=redact(str(problem), secrets)) for problem in problems]


def _diff(handler: Handler, request: Any, call: CallContext) -> provider_pb2.DiffResponse:
    state = Bag.of(request.olds)
    difference = handler.diff(call, request.id, state, _old_inputs(request, state), Bag.of(request.news))
    return _diff_response(difference, frozenset(request.ignoreChanges))


def _diff_response(difference: Difference, ignored: frozenset[str]) -> provider_pb2.DiffResponse:
    changes = [change for change in difference.changes if not {property_path(change.path), str(change.path[0])} & ignored]
    replaces = sorted({property_path(change.path) for change in changes if change.replaces})
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=replaces,
        diffs=sorted({str(change.path[0]) for change in changes}),
        deleteBeforeReplace=bool(replaces) and difference.deletes_before_replace,
        detailedDiff={property_path(change.path): property_diff(change) for change in changes},
        hasDetailedDiff=True,
    )


def _create(handler: Handler, request: Any, call: CallContext) -> provider_pb2.CreateResponse:
    inputs = Bag.of(request.properties)
    if request.preview:
        return provider_pb2.CreateResponse(properties=handler.preview(call, "", None, Bag(), inputs).to_struct())
    created = handler.create(call, inputs)
    return provider_pb2.CreateResponse(id=created.id, properties=created.state.to_struct())


def _read(handler: Handler, request: Any, call: CallContext) -> provider_pb2.ReadResponse:
    state = Bag.of(request.properties)
    found = handler.read(call, request.id, state, Bag.of(request.inputs) if request.HasField("inputs") else state.nested("__inputs"))
    if found is None:
        return provider_pb2.ReadResponse()
    if found.unready:
        raise HalfMadeError(found.unready, found.state, found.inputs, found.id)
    return provider_pb2.ReadResponse(id=found.id, properties=found.state.to_struct(), inputs=found.inputs.to_struct())


def _update(handler: Handler, request: Any, call: CallContext) -> provider_pb2.UpdateResponse:
    state, inputs = Bag.of(request.olds), Bag.of(request.news)
    method = handler.preview if request.preview else handler.update
    new_state = method(call, request.id, state, _old_inputs(request, state), inputs)
    return provider_pb2.UpdateResponse(properties=new_state.to_struct())


def _delete(handler: Handler, request: Any, call: CallContext) -> empty_pb2.Empty:
    state = Bag.of(request.properties)
    handler.delete(call, request.id, state, _old_inputs(request, state))
    return empty_pb2.Empty()


def _old_inputs(request: Any, state: Bag) -> Bag:
    return Bag.of(request.old_inputs) if request.HasField("old_inputs") else state.nested("__inputs")


def _partial_failure(error: HalfMadeError, id: str, secrets: frozenset[str]) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    reasons = [redact(reason, secrets) for reason in error.reasons]
    return half_made(error.id or id, error.state.to_struct(), error.inputs.to_struct(), reasons)
