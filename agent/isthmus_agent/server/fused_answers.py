"""Answers that this device gives with its group: the model's own becomes evidence, and of what others say one answer is made.

What leaves the device is evidence alone (see `formats.said`); nothing of a request is in it but the name that its event was given.
"""

import binascii
import math
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isthmus_agent import channel
from isthmus_agent.channel import Channel, View
from isthmus_agent.formats.answers import ANSWERED_BY, GROUP, HEARD, SET_ASIDE
from isthmus_agent.formats.bundle import SignedGroup
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.said import event_name
from isthmus_agent.group.fusing import Answered, AskedAlreadyError, BusyError, Effect, Fusing, Publish
from isthmus_agent.protocol import Reply, RestError, render_predict
from isthmus_agent.server.answers import Answer, Due, Later

Arrays = Mapping[str, npt.NDArray[Any]]
_MARGIN_SECONDS: Final = 0.002
"""Before a request's deadline, so that its answer is out by then."""
_ONE: Final = "a request with X-Isthmus-Event shows one example, which is what the event looks like from here"


class FusedAnswers:
    """A device's part in its group. control: by which the manager says something to the group. Raises FormatError where the group has no
    such view."""

    def __init__(self, signed: SignedGroup, view: View, control: Channel) -> None:
        self._core, self._control = Fusing(view.device, view.name, signed.group), control
        self._wait_seconds = signed.wait_ms / 1000
        self._found: dict[Hashable, Answered] = {}
        self._due: deque[Hashable] = deque()
        self.unsent = self.unfit = 0

    def status(self) -> Mapping[str, Any]:
        """For people."""
        return {**self._core.status(), "unsent": self.unsent, "unfit": self.unfit}

    def asked(self, event: str, own: Answer, outputs: Arrays, due: Due, *, row: bool) -> Answer | Later:
        """The group's answer to an event, at once or later. own, outputs: the device's, which stand where they are no probabilities.

        Raises RestError: 400 for a name that is none and for more than one example, 409 for an event that was asked before, 503 where too
        many wait.
        """
        try:
            event_name(event, "X-Isthmus-Event")
        except FormatError as error:
            raise RestError(400, str(error)) from None
        [(name, table)] = outputs.items() if len(outputs) == 1 else [("", np.zeros(0))]
        if table.ndim != 2 or len(table) != 1:
            raise RestError(400, _ONE)
        now = time.monotonic()
        within = self._wait_seconds if due.seconds is None else due.began + due.seconds - _MARGIN_SECONDS - now
        try:
            self._do(self._core.ask(event, _log_probabilities(table[0]), now, within))
        except AskedAlreadyError as error:
            raise RestError(409, str(error)) from None
        except BusyError as error:
            raise RestError(503, str(error)) from None
        except FormatError:
            self.unfit += 1
            return own

        def finish(_: bytes | None) -> Answer:
            found = self._found.pop(event)
            shares = found.fused.probabilities
            fused = np.array([shares if table.shape[1] > 1 else shares[1:]], table.dtype)
            return Answer(Reply(200, render_predict({name: fused}, row)), _headers(found))

        if event in self._found:
            self._due.remove(event)
            return finish(None)
        return Later(event, finish)

    def hear(self, message: Mapping[str, Any]) -> None:
        """What the manager passes on: what a device says, by whom the bus says it was, or who is there now."""
        now = time.monotonic()
        if message["what"] == channel.PRESENT:
            self._do(self._core.present(message["devices"], now))
        else:
            self._do(self._core.heard(message["device"], binascii.a2b_base64(message["payload"]), now))

    def next_at(self) -> float | None:
        """When to look even if nothing has come, by the monotonic clock."""
        return self._core.wakes_at

    def answered(self) -> Iterator[tuple[Hashable, bytes | None]]:
        """The events whose answer is there, for `Later.finish`."""
        wakes_at, now = self._core.wakes_at, time.monotonic()
        if wakes_at is not None and wakes_at <= now:
            self._do(self._core.tick(now))
        while self._due:
            yield self._due.popleft(), None

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                payload = binascii.b2a_base64(effect.payload, newline=False).decode("ascii")
                self.unsent += not self._control.send(channel.EVIDENCE, payload=payload)
            else:
                self._found[effect.event] = effect
                self._due.append(effect.event)


def _log_probabilities(row: npt.NDArray[Any]) -> list[float]:
    """Of a model's answer [classes]; one number is the probability of the second of two classes."""
    shares = [1.0 - float(row[0]), float(row[0])] if len(row) == 1 else [float(it) for it in row]
    return [math.log(it) if it > 0 else (-math.inf if it == 0 else math.nan) for it in shares]


def _headers(found: Answered) -> str:
    aside = f"{SET_ASIDE}: {', '.join(found.fused.set_aside)}\r\n" if found.fused.set_aside else ""
    return f"{ANSWERED_BY}: {GROUP}\r\n{HEARD}: {', '.join(found.heard)}\r\n{aside}"
