"""Pulumi's ResourceProvider protocol over a `Provider`, whose handlers work on raw property bags."""

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2

from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call as CallContext
from isthmus.plugin.bags.handler import HalfMadeError, Handler, Provider
from isthmus.plugin.engine import Engine
from isthmus.plugin.handler import PartlyMadeError
from isthmus.plugin.replies import Failure, check_failures, diff_response, half_made, token_and_name
from isthmus.plugin.servicing import ServicerBase
from isthmus.plugin.values import redact

T = TypeVar("T")


class Servicer(ServicerBase):
    """Serves one provider."""

    def __init__(self, provider: Provider, engine: Engine) -> None:
        super().__init__(provider.package, provider.version, engine)
        self._provider = provider

    # What the plugin is.

    async def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    async def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        # The types are those of the official SDK; nothing of them is generated from this plugin.
        schema = {"name": self._package, "version": self._version}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    async def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        def work(call: CallContext) -> provider_pb2.CheckResponse:
            checked = self._provider.check_settings(settings(request.news))
            return provider_pb2.CheckResponse(inputs=request.news, failures=check_failures(checked.problems, checked.inputs.secret_strings))

        return await self._do(context, CallContext(request.urn), work)

    async def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        def work(call: CallContext) -> provider_pb2.DiffResponse:
            old, new = _settings_before(request), settings(request.news)
            found = self._provider.diff_settings(old, new)
            return diff_response(found.changes, (), deletes_before_replace=found.deletes_before_replace)

        return await self._do(context, CallContext(request.urn), work)

    async def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        def work(call: CallContext) -> provider_pb2.ConfigureResponse:
            given = settings(request.args)
            call.secrets |= given.secret_strings
            self._provider.configure(given)
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

        return await self._do(context, CallContext(request.urn), work)

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
        fix = f"install the official plugin (`pulumi plugin install resource {self._package}`)"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the fall-back {self._package} plugin does not cover {what}. Fix: {fix}")
        raise AssertionError("abort returned")

    async def _resource(self, context: Any, request: Any, method: Callable[[Handler, Any, CallContext], T]) -> T:
        call = self._call_of(request)
        handler = self._provider.handler(call.token)
        if handler is None:
            await self._refuse(context, f"the resource type {call.token}")
        return await self._do(context, call, lambda call: method(handler, request, call), getattr(request, "id", ""))

    def _call_of(self, request: Any) -> CallContext:
        call = CallContext(request.urn, self._cancelled, getattr(request, "timeout", 0.0) or None)
        call.token, call.name = token_and_name(request.urn)
        call.progress = lambda message: self._engine.log("info", redact(message, call.secrets), request.urn, ephemeral=True)
        for field in ("olds", "news", "old_inputs", "properties", "inputs"):
            struct = getattr(request, field, None)
            if isinstance(struct, struct_pb2.Struct):
                call.secrets |= Bag.of(struct).secret_strings
        return call

    async def _do(self, context: Any, call: CallContext, work: Callable[[CallContext], T], id: str = "") -> T:
        return await self._run(context, call, lambda: work(call), lambda error: _partial_failure(error, id, call.secrets))


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
    return provider_pb2.CheckResponse(inputs=checked.inputs.to_struct(), failures=check_failures(checked.problems, secrets))


def _diff(handler: Handler, request: Any, call: CallContext) -> provider_pb2.DiffResponse:
    state = Bag.of(request.olds)
    difference = handler.diff(call, request.id, state, _old_inputs(request, state), Bag.of(request.news))
    return diff_response(difference.changes, request.ignoreChanges, deletes_before_replace=difference.deletes_before_replace)


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


def _partial_failure(error: PartlyMadeError, id: str, secrets: frozenset[str]) -> Failure:
    assert isinstance(error, HalfMadeError)  # noqa: S101 - what handlers of bags raise
    reasons = [redact(reason, secrets) for reason in error.reasons]
    return half_made(error.id or id, error.state.to_struct(), error.inputs.to_struct(), reasons)
