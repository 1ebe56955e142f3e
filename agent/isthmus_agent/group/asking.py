"""A device's own requests: each is kept until it has one answer, whoever gives it in the end.

A request is given out to the owner of its stream, under the lease's epoch. It is asked again (one attempt more) when no answer came in
time, when its owner has another one's lease, and when its owner or oneself has come back to the bus. An answer counts if it comes from
whom the request was last given out to, under that epoch; then the request is forgotten, so that a second answer finds none.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.formats.passing import Answer, Outcome, Request, Tag
from isthmus_agent.formats.presence import Stream
from isthmus_agent.group.effects import Answered, Effect, Moved, Pass, Unanswered
from isthmus_agent.group.settings import Settings

SILENT, BUSY, ENOUGH = 4, 1, 8
"""What counts against an owner: a request without an answer, one that it had no room for, and how much in a row puts it aside."""
_BUSY_SHARE = 0.25
"""Of the time for an answer, until who was busy is asked again."""


class TooManyError(Exception):
    """There is no room for one more request: the asker is told, and nothing is dropped."""


@dataclass(frozen=True)
class Lease:
    """A stream's: its owner under this epoch. None: there is nobody at the moment. among: as in `Stream`."""

    work_per_1000_seconds: int
    may_move: bool
    owner: str | None
    epoch: int
    among: str = ""


@dataclass
class _Waiting:
    stream: str
    payload: bytes
    ends_at: float
    owner: str | None
    epoch: int
    attempt: int = 0
    asked_at: float = 0.0
    due_at: float = 0.0
    is_fixed: bool = False


@dataclass
class _Aside:
    against: int = 0
    times: int = 0
    until: float = -math.inf


class Asking:
    """Requests without an answer, and the leases of the streams that they are of.

    own: the device's name. start: rising with each start of the program, so that what an earlier one asked is not taken for this one's.
    """

    def __init__(self, own: str, start: int, settings: Settings) -> None:
        self._own, self._start, self._settings = own, start, settings
        self.leases: dict[str, Lease] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._asides: dict[str, _Aside] = {}
        self._last = self._bytes = 0
        self.refused = 0
        self.asked_again = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, payload_bytes: int) -> bool:
        """Whether one more request with such a payload is taken."""
        return len(self._waiting) < self._settings.most_waiting and self._bytes + payload_bytes <= self._settings.most_bytes

    def ask(self, stream: str, payload: bytes, now: float, within_seconds: float, *, of: str | None = None) -> tuple[int, list[Effect]]:
        """A new request and its id. of: who is to do it and nobody else; None: whoever owns the stream. Raises TooManyError."""
        if not self.has_room(len(payload)):
            raise TooManyError(
                f"{len(self._waiting)} requests ({self._bytes} bytes) wait for their answers: no room for another {len(payload)}"
            )
        lease = None if of is not None else self.leases[stream]
        self._last += 1
        owner, epoch = (of, 1) if lease is None else (lease.owner, lease.epoch)
        request = _Waiting(stream, payload, now + within_seconds, owner, epoch, is_fixed=lease is None)
        self._waiting[self._last] = request
        self._bytes += len(payload)
        return self._last, self._given_out(self._last, request, now)

    def answer(self, sender: str, answer: Answer, now: float) -> list[Effect]:
        """Takes an answer, if it is one."""
        tag = answer.tag
        request = self._waiting.get(tag.id) if tag.start == self._start else None
        if request is None or (request.owner, request.epoch) != (sender, tag.epoch) or tag.attempt > request.attempt:
            self.refused += 1
            return []
        if answer.outcome is Outcome.BUSY:
            self._hold_against(sender, BUSY, now)
            request.due_at = min(request.due_at, now + _BUSY_SHARE * self._settings.answer_seconds)
            return []
        self._asides.pop(sender, None)
        self._forget(tag.id)
        if answer.outcome is Outcome.FAILED:
            return [Unanswered(tag.id, answer.payload.decode("utf-8", "replace") or "it could not be done")]
        return [Answered(tag.id, answer.payload)]

    def withdraw(self, number: int) -> bool:
        """Forgets a request, whose asker has an answer from elsewhere. Whether it was waiting."""
        if number not in self._waiting:
            return False
        self._forget(number)
        return True

    def is_aside(self, name: str, now: float) -> bool:
        """Whether nothing is given to a device at the moment, though it says that it is there."""
        aside = self._asides.get(name)
        return aside is not None and now < aside.until

    def lease(self, owners: Mapping[str, str | None], now: float, there: Collection[str]) -> list[Effect]:
        """Gives streams to their owners. there: who may own one; what is with others is given out anew, the rest stays where it is."""
        effects: list[Effect] = []
        for stream, owner in sorted(owners.items()):
            lease = self.leases[stream]
            if lease.owner != owner:
                self.leases[stream] = replace(lease, owner=owner, epoch=lease.epoch + 1)
                effects.append(Moved(stream, lease.owner, owner, lease.epoch + 1))
        for number, request in list(self._waiting.items()):
            if request.owner in there:
                continue
            if request.is_fixed:
                self._forget(number)
                effects.append(Unanswered(number, f"{request.owner} is not there"))
            elif request.owner != self.leases[request.stream].owner:
                effects += self._given_out(number, request, now)
        return effects

    def ask_again(self, now: float, of: Collection[str] | None = None) -> list[Effect]:
        """Gives out again what others have in hand. of: those others; None: all. Of oneself nothing was lost on the way."""
        found = [it for it in self._waiting.items() if it[1].owner != self._own and (of is None or it[1].owner in of)]
        return [effect for number, request in found for effect in self._given_out(number, request, now)]

    def tick(self, now: float, *, is_connected: bool) -> list[Effect]:
        """Ends what took too long, and asks again for what had no answer in time; of others only where they can be reached."""
        effects: list[Effect] = []
        silent = set()
        for number, request in list(self._waiting.items()):
            if now >= request.ends_at:
                self._forget(number)
                effects.append(Unanswered(number, "there was no answer in time"))
            elif now >= request.due_at and request.owner is not None and (is_connected or request.owner == self._own):
                if now >= request.asked_at + self._settings.answer_seconds:
                    silent.add(request.owner)
                effects += self._given_out(number, request, now)
        for owner in sorted(silent - {self._own}):
            self._hold_against(owner, SILENT, now)
        return effects

    def wakes_at(self, *, is_connected: bool) -> float | None:
        """When the next tick is of use."""
        times = [
            min(it.ends_at, it.due_at) if it.owner == self._own or (it.owner and is_connected) else it.ends_at
            for it in self._waiting.values()
        ]
        return min(times, default=None)

    def streams(self) -> dict[str, Stream]:
        """As the group is told of them. What nobody has is its home's own."""
        return {name: Stream(it.work_per_1000_seconds, it.owner or self._own, it.may_move, it.among) for name, it in self.leases.items()}

    def _given_out(self, number: int, request: _Waiting, now: float) -> list[Effect]:
        """Under the lease as it is now."""
        if not request.is_fixed:
            lease = self.leases[request.stream]
            request.owner, request.epoch = lease.owner, lease.epoch
        if request.owner is None:
            return []
        request.attempt += 1
        self.asked_again += request.attempt > 1
        request.asked_at, request.due_at = now, now + self._settings.answer_seconds
        tag = Tag(self._start, number, request.epoch, request.attempt)
        return [Pass(request.owner, Request(tag, request.stream, request.payload))]

    def _forget(self, number: int) -> None:
        self._bytes -= len(self._waiting.pop(number).payload)

    def _hold_against(self, owner: str, weight: int, now: float) -> None:
        aside = self._asides.setdefault(owner, _Aside())
        aside.against += weight
        if aside.against >= ENOUGH and now >= aside.until:
            aside.against, aside.times = 0, aside.times + 1
            aside.until = now + doubled_seconds(self._settings.aside_seconds, self._settings.most_aside_seconds, aside.times)
