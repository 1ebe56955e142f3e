"""What a device does for others and itself: each request once at a time, none of an owner's past.

Delivery is at least once. A request that is in hand is not begun again; one that comes again with the same attempt was delivered twice;
one that is asked again (a higher attempt) had its answer lost, and is done again, which for a prediction changes nothing.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import Final, TypeVar

from isthmus_agent.formats.passing import Answer, Outcome, Request
from isthmus_agent.group.effects import Effect, Key, Pass, Work

WINDOW: Final = 4096
"""Of requests that were answered, and of streams whose epochs are known: the latest so many."""

K = TypeVar("K", bound=Hashable)


class Working:
    """Requests in hand. most: of them at a time, and most_bytes of their payloads."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._in_hand: dict[Key, Request] = {}
        self._answered: OrderedDict[Key, tuple[int, int]] = OrderedDict()
        self._epochs: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self.repeated = self.outdated = self.turned_away = 0

    def __len__(self) -> int:
        return len(self._in_hand)

    def asked(self, asker: str, request: Request) -> list[Effect]:
        """Takes a request on, or says that it is too many."""
        tag, key, stream = request.tag, (asker, request.tag.start, request.tag.id), (asker, request.stream)
        order, epoch = (tag.epoch, tag.attempt), (tag.start, tag.epoch)
        if epoch < self._epochs.get(stream, epoch):
            self.outdated += 1
            return []
        _note(self._epochs, stream, epoch)
        held = self._in_hand.get(key)
        if held is not None:
            self.repeated += 1
            if order > (held.tag.epoch, held.tag.attempt):
                self._in_hand[key] = replace(held, tag=tag)
            return []
        if key in self._answered and order <= self._answered[key]:
            self.repeated += 1
            return []
        if len(self._in_hand) >= self._most or self._bytes + len(request.payload) > self._most_bytes:
            self.turned_away += 1
            return [Pass(asker, Answer(tag, Outcome.BUSY))]
        self._in_hand[key] = request
        self._bytes += len(request.payload)
        return [Work(key, request.stream, request.payload)]

    def done(self, key: Key, outcome: Outcome, payload: bytes) -> list[Effect]:
        """What came of a request; nothing where it is not in hand."""
        request = self._in_hand.pop(key, None)
        if request is None:
            return []
        self._bytes -= len(request.payload)
        _note(self._answered, key, (request.tag.epoch, request.tag.attempt))
        return [Pass(key[0], Answer(request.tag, outcome, payload))]

    def again(self) -> list[Effect]:
        """All that is in hand, for another server than the one that died with it."""
        return [Work(key, request.stream, request.payload) for key, request in self._in_hand.items()]


def _note(window: "OrderedDict[K, tuple[int, int]]", key: K, value: tuple[int, int]) -> None:
    window[key] = value
    window.move_to_end(key)
    if len(window) > WINDOW:
        window.popitem(last=False)
