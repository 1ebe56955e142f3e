"""Predict over gRPC: from a message to arrays, and from arrays to a message."""

import weakref
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorflow_serving.apis import predict_pb2

from isthmus.server.bundle import Bundle
from isthmus.server.errors import ServingError, invalid
from isthmus.server.limits import MAX_BODY_BYTES_ON_LOOP, MAX_ELEMENTS_ON_LOOP
from isthmus.server.moulds import CHANGES, Mould, changed, same
from isthmus.server.prediction import Predictor, elements
from isthmus.server.tensors import Arrays, fill, to_array
from isthmus_agent.protocol import DEFAULT_SIGNATURE, Signature

_MAX_KNOWN = 256
_LEARN_EVERY = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a message asks for. name, version, label: the model's; output_names: empty: all outputs."""

    name: str
    version: int | None
    label: str | None
    signature_name: str
    output_names: tuple[str, ...]

    @classmethod
    def by(cls, request: Any) -> "_Asked":
        """Raises ServingError where the request names no model."""
        spec = request.model_spec
        version, label = asked_version(spec)
        return cls(model_name(request), version, label, spec.signature_name or DEFAULT_SIGNATURE, tuple(request.output_filter))


@dataclass(frozen=True, slots=True)
class _Known:
    """A kind of message that came before, and how it is answered. bundle: weak, as a model may be unloaded."""

    asked: _Asked
    version: int
    bundle: weakref.ref[Bundle]
    request: Mould
    response: Mould


class Predict:
    """The method. as_content: outputs are sent as bytes, not in the value fields of their types."""

    def __init__(self, predictor: Predictor, *, as_content: bool) -> None:
        self._predictor = predictor
        self._as_content = as_content
        # By the length of the message: what is known, and how many there were of which nothing was.
        self._known: dict[int, _Known] = {}
        self._unknown: dict[int, int] = {}

    def __call__(self, request: Any, data: bytes) -> bytes | Awaitable[bytes]:
        """The response's bytes. Raises ServingError."""
        asked = _Asked.by(request)
        version, bundle = self._predictor.manager.find(asked.name, asked.version, asked.label)
        if len(data) > MAX_BODY_BYTES_ON_LOOP:
            return self._later(asked, version, bundle, request, None)
        inputs = _inputs(request, bundle, asked)
        if elements(inputs) > MAX_ELEMENTS_ON_LOOP or not self._predictor.runs_here(bundle, asked.signature_name, inputs):
            return self._later(asked, version, bundle, request, inputs)
        outputs = self._predictor.run(asked.name, bundle, asked.signature_name, inputs)
        response = self._response_or_later(asked, version, outputs)
        if isinstance(response, bytes):
            # From one in so many: learning takes as long as the call did, and from some there is nothing to learn.
            seen = self._unknown[len(data)] = self._unknown.get(len(data), -1) + 1
            if seen % _LEARN_EVERY == 0:
                wanted = {key: outputs[key] for key in asked.output_names or outputs}
                known = self._learn(asked, version, bundle, (data, inputs), (response, wanted))
                if known is not None:
                    if len(self._known) >= _MAX_KNOWN:
                        self._known.clear()
                    self._known[len(data)] = known
        return response

    def recall(self, data: bytes) -> "_Recalled | None":
        """What is known of a message that is not read yet; None where it has to be."""
        known = self._known.get(len(data))
        inputs = known.request.read(data) if known is not None else None
        if known is None or inputs is None:
            return None
        asked = known.asked
        try:
            bundle = self._predictor.manager.find(asked.name, asked.version, asked.label)[1]
        except ServingError:
            return None
        if bundle is not known.bundle() or not self._predictor.runs_here(bundle, asked.signature_name, inputs):
            return None
        return _Recalled(self, known, bundle, inputs)

    def answer(self, known: _Known, bundle: Bundle, inputs: Arrays) -> bytes | Awaitable[bytes]:
        """The response to a message of a known kind. Raises ServingError."""
        outputs = self._predictor.run(known.asked.name, bundle, known.asked.signature_name, inputs)
        return known.response.write(outputs) or self._response_or_later(known.asked, known.version, outputs)

    async def _later(self, asked: _Asked, version: int, bundle: Bundle, request: Any, inputs: Arrays | None) -> bytes:
        if inputs is None:
            inputs = await self._predictor.in_thread(_inputs, request, bundle, asked)
        outputs = await self._predictor.run_later(asked.name, bundle, asked.signature_name, inputs)
        response = self._response_or_later(asked, version, outputs)
        return response if isinstance(response, bytes) else await response

    def _response_or_later(self, asked: _Asked, version: int, outputs: Arrays) -> bytes | Awaitable[bytes]:
        if elements(outputs) > MAX_ELEMENTS_ON_LOOP:
            return self._predictor.in_thread(self._response, asked, version, outputs)
        return self._response(asked, version, outputs)

    def _response(self, asked: _Asked, version: int, outputs: Arrays) -> bytes:
        response = predict_pb2.PredictResponse()
        fill_spec(response.model_spec, asked.name, version, asked.signature_name)
        for key in asked.output_names or outputs:
            fill(response.outputs[key], outputs[key], as_content=self._as_content)
        return sent(response)

    def _learn(
        self, asked: _Asked, version: int, bundle: Bundle, request: tuple[bytes, Arrays], response: tuple[bytes, Arrays]
    ) -> _Known | None:
        """The kind of a message, from it and its response with the arrays of both; None where it has no mould."""
        request_mould, response_mould = Mould.of(*request), Mould.of(*response)
        if request_mould is None or response_mould is None:
            return None
        # Other numbers have to change these arrays, all of them, and nothing else.
        for bits in CHANGES:
            inputs, outputs = changed(request[1], bits), changed(response[1], bits)
            try:
                other = predict_pb2.PredictRequest.FromString(request_mould.write(inputs))
                unchanged = _Asked.by(other) == asked and same(_inputs(other, bundle, asked), inputs)
            except Exception:  # what was taken for numbers was a name, or a length
                return None
            if not unchanged or self._response(asked, version, outputs) != response_mould.write(outputs):
                return None
        return _Known(asked, version, weakref.ref(bundle), request_mould, response_mould)


@dataclass(frozen=True, slots=True)
class _Recalled:
    """A message of a known kind."""

    method: Predict
    known: _Known
    bundle: Bundle
    inputs: Arrays

    @property
    def name(self) -> str:
        return self.known.asked.name

    def answer(self) -> bytes | Awaitable[bytes]:
        return self.method.answer(self.known, self.bundle, self.inputs)


def model_name(request: Any) -> str:
    """Raises ServingError where the request has no ModelSpec."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return str(request.model_spec.name)


def asked_version(spec: Any) -> tuple[int | None, str | None]:
    """Version and label of a ModelSpec."""
    choice = spec.WhichOneof("version_choice")
    return (spec.version.value if choice == "version" else None, spec.version_label if choice == "version_label" else None)


def fill_spec(spec: Any, name: str, version: int, signature_name: str) -> None:
    """Writes into a ModelSpec what a call was answered with."""
    spec.name, spec.version.value, spec.signature_name = name, version, signature_name


def sent(response: Any) -> bytes:
    """A response's bytes. Raises ServingError where they are too many."""
    try:
        return response.SerializeToString()  # type: ignore[no-any-return]
    except Exception:  # a message has at most 2 GiB
        raise ServingError("RESOURCE_EXHAUSTED", "the answer is larger than a message can be") from None


def _inputs(request: Any, bundle: Bundle, asked: _Asked) -> Arrays:
    """The request's inputs, and defaults where it leaves some out. Raises ServingError."""
    signature = bundle.signatures.get(asked.signature_name)
    if signature is None:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{asked.signature_name}" not found.')
    tensors, defaults = request.inputs, bundle.defaults[asked.signature_name]
    names = set(tensors)
    _check_number(names, signature, defaults)
    inputs = {}
    for name, info in signature.inputs.items():
        if name in names:
            inputs[name] = to_array(name, tensors[name], info)
        elif name in defaults:
            inputs[name] = defaults[name]
        else:
            raise invalid(
                f"Signature input alias: {name}(feed name: {info.tensor_name}) not found in request and no default value provided. "
                f"Inputs expected to be in the request {{{_listed(names)}}}, or default input alias set: {_listed(defaults)}"
            )
    if not names <= signature.input_names:
        used = _listed(names & signature.input_names)
        raise invalid(f"Inputs contains invalid name. Used request inputs: {used}, request input: {_listed(names)}")
    _check_filter(asked.output_names, signature)
    return inputs


def _check_number(names: set[str], signature: Signature, defaults: Mapping[str, Any]) -> None:
    known = signature.input_names
    if len(names) > len(known) or (len(names) < len(known) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(names)}!={len(known)} len({{{_listed(names)}}}) != len({{{_listed(known)}}}). "
            f"Sent extra: {{{_listed(names - known)}}}. Missing but required: {{{_listed(known - names)}}}."
        )


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _check_filter(names: Sequence[str], signature: Signature) -> None:
    for index, name in enumerate(names):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{_listed(signature.outputs)}}}.",
            )
        if name in names[:index]:
            raise invalid(f"duplicate output tensor alias: {name}")
