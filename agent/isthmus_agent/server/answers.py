"""Answers to requests: those at once, and those that somebody else has a part in."""

import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from isthmus_agent.formats.answers import ANSWERED_BY, CLOUD, DEVICE, PEER, deadline_ms
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.protocol import Reply, RestError, Route, parse_path
from isthmus_agent.server.http import Request

T = TypeVar("T")
BY_DEVICE, BY_CLOUD, BY_PEER = (f"{ANSWERED_BY}: {it}\r\n" for it in (DEVICE, CLOUD, PEER))


@dataclass(frozen=True)
class Answer:
    """headers: of its own, each with its end of line."""

    reply: Reply
    headers: str = ""


@dataclass(frozen=True)
class Later:
    """finish: makes the answer of what the question brings; of None where it brings nothing in time. is_first: the device has not tried."""

    question: Hashable
    finish: Callable[[bytes | None], Answer]
    is_first: bool = False


@dataclass(frozen=True)
class Due:
    """When a request came, by the monotonic clock, and within how many seconds its answer is wanted; None: it does not say."""

    began: float
    seconds: float | None = None


def due_of(request: Request, began: float) -> Due:
    """When its answer is wanted. Raises RestError (400) where what it says of that is no deadline."""
    if request.deadline is None:
        return Due(began)
    try:
        return Due(began, deadline_ms(request.deadline) / 1000)
    except FormatError as error:
        raise RestError(400, str(error)) from None


Answering = Callable[[Request], Answer | Later]
Check = Callable[[bytes], bytes]
"""What to answer with, by what somebody else says. Raises ValueError where that is of no use. It is called in another thread."""


class Heard(Protocol):
    """What somebody else answers, as it comes."""

    def fileno(self) -> int:
        """Readable when something has come."""

    def next_at(self) -> float | None:
        """When to look even if nothing has come, by the monotonic clock."""

    def answered(self) -> Iterator[tuple[Hashable, bytes | None]]:
        """What has come, and what is late; once more, for nobody, what comes when nobody waits any more."""


class Asker(Heard, Protocol):
    """Who else is asked, without this thread waiting."""

    def ask(self, model: str, body: bytes, check: Check, due: Due, *, is_needed: bool) -> Hashable | None:
        """What is asked; None where nobody is to wait for it. is_needed: there is no other answer, so that one which may not come is worth
        waiting for."""

    def has_room(self) -> bool:
        """Whether what is asked now would be sent at once."""

    def hasten(self, question: Hashable, until: float) -> None:
        """Nobody waits for it longer than to that time, by the monotonic clock."""

    def probe(self, model: str) -> None:
        """Measures the round trip, where asking is allowed; see `round_trip_ms`."""

    def round_trip_ms(self) -> float:
        """The smoothed round trip of probes; infinity while nothing is asked, not a number before the first."""

    def breaker(self) -> str:
        """Whether it is asked: one of `formats.routing.BREAKERS`."""

    def counts(self) -> Mapping[str, int]:
        """What was asked, and what became of it: by `formats.routing.ASKED`."""


class Group(Protocol):
    """With whom an answer is given."""

    def hear(self, message: Mapping[str, Any]) -> None:
        """What the manager passes on of it."""

    def next_at(self) -> float | None:
        """As of an `Asker`."""

    def answered(self) -> Iterator[tuple[Hashable, bytes | None]]:
        """The same."""


def answered(request: Request, own: Mapping[str, Callable[[], Reply]], call: Callable[[Route], Reply | Answer | Later]) -> Answer | Later:
    """The answer to a request, whatever becomes of it. own: what a device says of itself, by path. call: the API's. Never raises."""

    def find() -> Answer | Later:
        about = own.get(request.target)
        if about is not None and request.method in ("GET", "HEAD"):
            return Answer(about())
        found = call(parse_path(request.method, request.target))
        return Answer(found) if isinstance(found, Reply) else found

    return safely(find)


def safely(make: Callable[[], T]) -> T | Answer:
    """What is made; an answer that says what failed, where that fails. Never raises."""
    try:
        return make()
    except RestError as error:
        return Answer(error.reply)
    except MemoryError:
        return Answer(RestError(503, "there is not enough memory for this request").reply)
    except Exception as error:
        sys.stderr.write(f"a request failed: {type(error).__name__}\n")  # its text may show what was asked
        return Answer(RestError(500, "internal error; the agent's log has it").reply)
