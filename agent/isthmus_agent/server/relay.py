"""A server without a content: as long as a device has none, the cloud role behind it answers alone."""

import json
import time
from collections.abc import Mapping
from typing import Any

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Start
from isthmus_agent.formats.answers import HEALTH_PATH
from isthmus_agent.protocol import Reply, RestError, Route
from isthmus_agent.server import living
from isthmus_agent.server.answers import Answer, Later, answered, due_of
from isthmus_agent.server.fallback import COLUMNS, ROWS, Fallback, check_alone
from isthmus_agent.server.http import Request
from isthmus_agent.server.sampling import Sampling


class Relay:
    """What is answered. about: of the device; a model in it is the only one that is asked for."""

    def __init__(self, about: Mapping[str, str], fallback: Fallback) -> None:
        self._about, self._fallback = about, fallback

    def figures(self) -> Mapping[str, Any]:
        """Nobody asks: what is measured is a content."""
        return {}

    def answer(self, request: Request) -> Answer | Later:
        """The answer. Never raises."""
        return answered(request, {HEALTH_PATH: self._health}, lambda route: self._answer(route, request))

    def _health(self) -> Reply:
        return Reply(200, json.dumps({**self._about, "state": "empty", "digest": None, "version": None}).encode())

    def _answer(self, route: Route, request: Request) -> Answer | Later:
        if route.call != "predict":
            raise RestError(404, f"Could not find any versions of model {route.model}")
        if route.model != self._about.get("model", route.model) or route.label is not None:
            raise RestError(404, f"Servable not found for request: Latest({route.model})")
        due = due_of(request, time.monotonic())
        row = _is_row(request.body)
        own = Answer(RestError(503, "no release is served on this device at the moment").reply)
        if request.is_for_here:
            return own
        return self._fallback.asked(route.model, request.body, check_alone(row=row), own, due, is_needed=True)


def _is_row(body: bytes) -> bool:
    """Whether the row form is asked for. Raises RestError (400) for what is no request, which is not passed on."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RestError(400, "JSON Parse error: the request is no JSON") from None
    for _, form in (ROWS, COLUMNS):
        if isinstance(document, dict) and form in document:
            return form == ROWS[1]
    raise RestError(400, "Missing 'inputs' or 'instances' key")


def run(start: Start, control: Channel) -> int:
    """Serves until the manager has it end. The process's status: 0 where it was drained."""
    control.send(channel.LOADED)

    def make(fallback: Fallback | None, _: Sampling) -> Relay:
        if fallback is None:
            raise EOFError  # nobody is there to be asked
        return Relay(start.about, fallback)

    try:
        living.live(start, control, make)
    except EOFError:
        return 1
    return 0
