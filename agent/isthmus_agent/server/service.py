"""Answers to requests: TensorFlow Serving's calls on one model, and `/healthz`."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isthmus_agent.formats.answers import HEALTH_PATH, ROUTING_PATH
from isthmus_agent.formats.policy import CLOUD, Policy
from isthmus_agent.formats.routing import Routing, routed
from isthmus_agent.protocol import (
    PredictRequest,
    Reply,
    RestError,
    Route,
    VersionStatus,
    parse_predict,
    render_metadata,
    render_predict,
    render_status,
    signature_json,
)
from isthmus_agent.server.answers import BY_DEVICE, Answer, Check, Due, Later, answered, due_of
from isthmus_agent.server.confidence import confidence
from isthmus_agent.server.fallback import Arrays, Fallback, check_by
from isthmus_agent.server.headroom import Headroom
from isthmus_agent.server.histogram import Histogram
from isthmus_agent.server.http import Request
from isthmus_agent.server.model import InterpreterError, Model
from isthmus_agent.server.router import Router
from isthmus_agent.server.sampling import Sampling
from isthmus_agent.server.tally import Tally

if TYPE_CHECKING:
    from isthmus_agent.server.fused_answers import FusedAnswers
    from isthmus_agent.server.halves import Parted

_METHODS = {"classify": "classification", "regress": "regression"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Service:
    """One model's answers, counted. about: what `/healthz` says besides. content: the digest of the bundle.

    min_confidence: what the content says that is sure enough, for a fallback that goes by it. policy: the content's, of where requests are
    answered first. places: who answers there, by the names of the policy's places; those that are missing are not asked; None: the
    cloud, where there is a fallback. parted: the ways to split the network, where the device may. fused: the device's part in a group;
    None: it answers alone. moved_millionths: how far its predictions are from those of the version before; None: not known.

    What the model failed at is an error of the model also where the cloud had an answer, and its times are its own.
    """

    def __init__(
        self,
        model: Model,
        content: str,
        about: Mapping[str, str],
        fallback: Fallback | None = None,
        *,
        min_confidence: float = 0.0,
        policy: Policy | None = None,
        places: Mapping[str, Fallback] | None = None,
        parted: "Parted | None" = None,
        sampling: Sampling | None = None,
        fused: "FusedAnswers | None" = None,
        moved_millionths: int | None = None,
    ) -> None:
        self._model, self._content, self._about, self._fallback = model, content, about, fallback
        self._min_confidence = min_confidence
        self._places = ({CLOUD: fallback} if fallback else {}) if places is None else places
        network = self._places[CLOUD].cloud if CLOUD in self._places else None
        self._router = (
            Router(policy, model.manifest.model, network, time.monotonic(), reached=self._places, headroom=Headroom(policy))
            if policy and self._places
            else None
        )
        self._parted = parted
        self._sampling, self._fused, self._moved_millionths = sampling, fused, moved_millionths
        self._requests = self._errors = 0
        self._times, self._tally = Histogram(), Tally()
        self._own_pages = {HEALTH_PATH: self._health, ROUTING_PATH: self._routing}
        self._calls: dict[str, Callable[[Route, Request], Reply | Answer | Later]] = {
            "status": self._status,
            "metadata": self._metadata,
            "predict": lambda route, request: self._tally.followed(lambda: self._predict(route, request)),
            "classify": self._other,
            "regress": self._other,
        }

    def figures(self) -> dict[str, Any]:
        """What was counted since the start, and the memory that is used now; seen: see `Router.seen`, which says it once."""
        with open("/proc/self/statm", encoding="ascii") as statm:
            rss_bytes = int(statm.read().split()[1]) * _PAGE_BYTES
        return {
            "requests": self._requests,
            "errors": self._errors,
            "p95_microseconds": self._times.quantile(95),
            "rss_bytes": rss_bytes,
            "distribution_distance_millionths": self._moved_millionths,
            "answered_by_cloud": self._fallback.answered_by_cloud if self._fallback else 0,
            "cloud_unavailable": self._fallback.unavailable if self._fallback else 0,
            "routed": asdict(routed(self._routing_now())) if self._fallback or self._router else None,
            "answered_by_peer": sum(it.answered_by_cloud for name, it in self._places.items() if name != CLOUD),
            "peer_unavailable": sum(it.unavailable for name, it in self._places.items() if name != CLOUD),
            "seen": self._router.seen() if self._router else None,
        }

    def answer(self, request: Request) -> Answer | Later:
        """The answer. Never raises."""
        return answered(request, self._own_pages, lambda route: self._calls[route.call](route, request))

    def _health(self) -> Reply:
        manifest = self._model.manifest
        document = {
            **self._about,
            "model": manifest.model,
            "state": "serving",
            "digest": manifest.digest,
            "version": manifest.version,
            "content": self._content,
            **({"group": self._fused.status()} if self._fused else {}),
        }
        return Reply(200, json.dumps(document).encode())

    def _routing(self) -> Reply:
        return Reply(200, self._routing_now().to_json())

    def _routing_now(self) -> Routing:
        cloud = self._fallback.cloud if self._fallback else None
        return self._tally.routing(self._model.manifest.digest, self._router, cloud)

    def _check(self, route: Route) -> None:
        """Whether a route means this model. Raises RestError (404, 400)."""
        manifest = self._model.manifest
        if route.label is not None:
            raise RestError(400, f"Unrecognized servable version label: {route.label}")
        if route.model != manifest.model or route.version not in {None, manifest.version}:
            which = f"Latest({route.model})" if route.version is None else f"Specific({route.model}, {route.version})"
            raise RestError(404, f"Servable not found for request: {which}")

    def _status(self, route: Route, _: Request) -> Reply:
        try:
            self._check(route)
        except RestError as error:
            if error.status != 404:
                raise
            raise RestError(404, f"Could not find any versions of model {route.model}") from None
        return Reply(200, render_status([VersionStatus(self._model.manifest.version, "AVAILABLE")]))

    def _metadata(self, route: Route, _: Request) -> Reply:
        self._check(route)
        manifest = self._model.manifest
        signatures = {manifest.signature: signature_json(self._model.signature)}
        return Reply(200, render_metadata(route.model, manifest.version, signatures))

    def _other(self, route: Route, _: Request) -> Reply:
        self._check(route)
        method = _METHODS[route.call]
        raise RestError(
            400, f"Expected {method} signature method_name to be tensorflow/serving/{route.call}. Was: tensorflow/serving/predict"
        )

    def _predict(self, route: Route, request: Request) -> Answer | Later:
        self._check(route)
        began_ns = time.monotonic_ns()
        due = due_of(request, began_ns / 1e9)
        self._requests += 1
        try:
            asked = parse_predict(request.body, {self._model.manifest.signature: self._model.signature})
            self._model.check_shapes(asked.inputs)  # what is wrong in itself is nobody else's
        except BaseException:
            self._errors += 1
            raise
        if self._router is not None:
            self._router.count()
        fused = None if request.is_for_here or request.event is None else self._fused
        if fused is None and (elsewhere := self._elsewhere(request, due)) is not None:
            return self._first(elsewhere, request.body, asked, due)
        parted = None if request.is_for_here or fused is not None else self._parted
        if parted is not None and (found := self._in_halves(parted, asked, due)) is not None:
            return found
        answer, outputs = self._own(asked, began_ns)
        if fused is not None and request.event is not None and outputs is not None:
            self._sample(answer, request, outputs)
            return fused.asked(request.event, answer, outputs, due, row=asked.row)
        if parted is not None and outputs is not None:
            parted.look(asked, self._check_of(asked))
        return self._instead(answer, asked, request, due, outputs)

    def _first(self, fallback: Fallback, body: bytes, asked: PredictRequest, due: Due) -> Answer | Later:
        """The cloud's answer to a body, later; the device's own where that does not come in time."""
        p95 = self._times.quantile(95)
        return fallback.first(
            self._model.manifest.model,
            body,
            self._check_of(asked),
            due,
            own=lambda: self._own(asked, time.monotonic_ns())[0],
            own_seconds=None if p95 is None else p95 / 1e6,
        )

    def _in_halves(self, parted: "Parted", asked: PredictRequest, due: Due) -> Answer | Later | None:
        """The answer of both halves, later; None where the device is to answer by itself."""
        body = parted.body(asked, due)
        if body is None:
            return None
        found = self._first(parted.fallback, body, asked, due)
        if isinstance(found, Later):
            parted.asks(found.question, body)
        return found

    def _elsewhere(self, request: Request, due: Due) -> Fallback | None:
        """Whom the policy has asked first; None: nobody. A request that is for here is not so much as looked up."""
        router = self._router
        return None if router is None or request.is_for_here else self._places.get(router.chosen(due.began))

    def _own(self, asked: PredictRequest, began_ns: int) -> tuple[Answer, Arrays | None]:
        """The device's own answer and its outputs; None for these where the model fails. Counted; Raises MemoryError."""
        is_answered = False
        try:
            ran = time.monotonic()
            outputs = self._model.predict(asked.inputs)
            if self._parted is not None and _is_one(asked):
                self._parted.ran(time.monotonic() - ran)
            own = Answer(Reply(200, render_predict(outputs, asked.row)), BY_DEVICE)
            is_answered = True
        except InterpreterError as error:
            return Answer(RestError(500, str(error)).reply), None
        finally:
            self._errors += not is_answered
        self._times.add((time.monotonic_ns() - began_ns) // 1000)
        return own, outputs

    def _instead(self, own: Answer, asked: PredictRequest, request: Request, due: Due, outputs: Arrays | None) -> Answer | Later:
        """What is answered instead of a device's own answer, if anything is. outputs: None where it has none."""
        self._sample(own, request, outputs)
        fallback = self._fallback
        if fallback is None or request.is_for_here:
            return own
        if outputs is not None and (self._keeps_doubt or fallback.is_sure(self._sure(outputs), self._min_confidence)):
            return own
        return fallback.asked(self._model.manifest.model, request.body, self._check_of(asked), own, due, is_needed=outputs is None)

    @property
    def _keeps_doubt(self) -> bool:
        """Whether the policy has nobody asked now about what the device is not sure of. What it has no answer to it asks all the same."""
        return self._router is not None and not self._router.passes_on

    def _check_of(self, asked: PredictRequest) -> Check:
        examples = len(next(iter(asked.inputs.values()))) if self._model.takes_any_batch else None
        return check_by(self._model.signature, row=asked.row, examples=examples)

    def _sure(self, outputs: Arrays) -> float | None:
        return confidence(outputs, self._model.manifest.calibration)

    def _sample(self, own: Answer, request: Request, outputs: Arrays | None) -> None:
        """Hands a request to the manager, where the fleet's owner wants some and chance takes this one."""
        sampling, reply = self._sampling, own.reply
        if sampling is not None and request.may_be_sampled and sampling.is_drawn(len(request.body) + len(reply.body)):
            sure = None if outputs is None else self._sure(outputs)
            sampling.take(self._model.manifest.model, reply.status, sure, request.body, reply.body)


def _is_one(asked: PredictRequest) -> bool:
    """Whether it is one example alone."""
    return all(it.shape[:1] == (1,) for it in asked.inputs.values())
