"""How a server's process lives once it is ready."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Page, Start
from isthmus_agent.server.answers import Answer, Asker, Group, Heard, Later
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.http import Request
from isthmus_agent.server.loop import Loop, trim
from isthmus_agent.server.sampling import Sampling


class Answers(Protocol):
    """What answers requests."""

    def answer(self, request: Request) -> Answer | Later:
        """Never raises."""

    def figures(self) -> Mapping[str, Any]:
        """What was counted."""


def live(
    start: Start,
    control: Channel,
    make: Callable[[Fallback | None, Sampling], Answers],
    *,
    version: int | None = None,
    others: Sequence[Heard] = (),
    fused: Group | None = None,
) -> None:
    """Serves until it is drained. version: of the model; None: there is none. others: that are asked beside the cloud. fused: with whom
    some answers are given. Raises EOFError where the manager is gone."""
    cloud = _cloud(start, version)
    sampling = Sampling(control, start.digest)
    asked = start.fallback
    answers = make(Fallback(cloud, asked.min_confidence, asked.deadline_seconds) if cloud and asked else None, sampling)
    trim()
    listeners = [socket.socket(fileno=descriptor) for descriptor in start.listeners]
    page = Page(start.page, start.limits.slots)
    answering, figures, allow = answers.answer, answers.figures, sampling.allow
    asked_of = _asked(cloud, others)
    loop = Loop(control, page, listeners, start.limits, answer=answering, figures=figures, allow=allow, asker=asked_of, fused=fused)
    control.send(channel.READY)
    loop.run()


def _asked(cloud: Heard | None, others: Sequence[Heard]) -> Heard | None:
    """All that are asked, as one."""
    if not others:
        return cloud
    from isthmus_agent.server.peers import Together  # as below

    return Together([*others, *([cloud] if cloud else [])])


def _cloud(start: Start, version: int | None) -> Asker | None:
    if start.fallback is None:
        return None
    from isthmus_agent.server.cloud import Cloud  # with TLS it takes memory, which a device that asks nobody has a better use for

    limits, asked = start.limits, version if start.fallback.same_version else None
    return Cloud(start.fallback, most_answer_bytes=limits.most_body_bytes, request_seconds=limits.request_seconds, version=asked)
