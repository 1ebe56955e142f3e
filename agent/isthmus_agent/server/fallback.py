"""When the cloud is asked, and what of its answer is given on: its arrays, read and written anew, never its bytes."""

import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from isthmus_agent.protocol import DEFAULT_SIGNATURE, Reply, RestError, Signature, parse_predict, render_predict
from isthmus_agent.server.answers import BY_CLOUD, Answer, Asker, Check, Due, Later, safely

Arrays = Mapping[str, npt.NDArray[Any]]
_MOST_BYTES_OF_NUMBER, _MOST_BYTES_BESIDE = 64, 4096
"""With blanks and brackets, as servers write answers."""
ROWS, COLUMNS = ("predictions", "instances"), ("outputs", "inputs")
"""How an answer is named, and the request that has its form."""


class UnlikeError(ValueError):
    """What the cloud answers is no answer to that."""


class Fallback:
    """Asks the cloud in place of the device, and counts.

    min_confidence: None: as the content says. deadline_seconds: of requests that say none; None: no deadline. by: the header that says
    whose an answer is: others than the cloud are asked in the same way.
    """

    def __init__(self, cloud: Asker, min_confidence: float | None, deadline_seconds: float | None = None, *, by: str = BY_CLOUD) -> None:
        self.cloud, self._min_confidence, self._deadline_seconds, self._by = cloud, min_confidence, deadline_seconds, by
        self.answered_by_cloud = self.unavailable = 0
        self._going: dict[Hashable, float] = {}  # what `first` asks, and by when it is to be answered

    def is_sure(self, sure: float | None, by_content: float) -> bool:
        """Whether an answer of the device's own of that confidence is good enough. by_content: what the content says is."""
        return sure is None or sure >= (by_content if self._min_confidence is None else self._min_confidence)

    def asked(self, model: str, body: bytes, check: Check, own: Answer, due: Due, *, is_needed: bool) -> Answer | Later:
        """The cloud's answer, later; own: where it has none in time. is_needed: own is none either."""
        question = self.cloud.ask(model, body, check, self.within(due), is_needed=is_needed)
        if question is None:
            self.unavailable += 1
            return own
        return Later(question, lambda found: self._counted(found) or own)

    def first(
        self, model: str, body: bytes, check: Check, due: Due, *, own: Callable[[], Answer], own_seconds: float | None
    ) -> Answer | Later:
        """The cloud's answer, later, to what the device has not answered yet; own: answers it, where the cloud does not in time.

        The cloud is waited for until the device must begin, if it is to answer all that is at the cloud by their deadlines, one after the
        other: a cloud that is gone fails them together. While as many are at the cloud as are asked at once, the device takes part.

        Args:
            own_seconds: what one answer takes the device; None: not known, and then the cloud is asked only where there is no deadline.
        """
        due = self.within(due)
        if (due.seconds is not None and own_seconds is None) or not self.cloud.has_room():
            return own()
        question = self.cloud.ask(model, body, check, due, is_needed=False)
        if question is None:
            self.unavailable += 1
            return own()
        if due.seconds is not None and own_seconds is not None:
            self._going[question] = due.began + due.seconds
            self._hasten(own_seconds)

        def finish(found: bytes | None) -> Answer:
            self._going.pop(question, None)
            answer = self._counted(found)
            return safely(own) if answer is None else answer

        return Later(question, finish, is_first=True)

    def _hasten(self, own_seconds: float) -> None:
        """When the device must begin each, so that all are done in time: from the last deadline backwards."""
        begins = math.inf
        for question, deadline in sorted(self._going.items(), key=lambda it: it[1], reverse=True):
            begins = min(deadline, begins) - own_seconds
            self.cloud.hasten(question, begins)

    def within(self, due: Due) -> Due:
        """With the deadline of requests that say none."""
        return due if due.seconds is not None else replace(due, seconds=self._deadline_seconds)

    def _counted(self, found: bytes | None) -> Answer | None:
        if found is None:
            self.unavailable += 1
            return None
        self.answered_by_cloud += 1
        return Answer(Reply(200, found), self._by)


def check_by(signature: Signature, *, row: bool, examples: int | None) -> Check:
    """What a model of that signature would answer. examples: how many there must be, where the signature promises any number of them."""
    name, form = ROWS if row else COLUMNS
    outputs = {DEFAULT_SIGNATURE: Signature(signature.outputs, {})}
    most_bytes = _most_bytes(signature, examples)

    def check(content: bytes) -> bytes:
        if most_bytes is not None and len(content) > most_bytes:  # read as JSON it would take many times as much
            raise UnlikeError(f"more than the {most_bytes} bytes that an answer takes")
        document = json.dumps({form: _answer_in(content, name)}).encode()
        try:
            found = parse_predict(document, outputs).inputs
            for output, info in signature.outputs.items():
                shape = found[output].shape
                wanted = info.shape if info.shape is None or examples is None else (examples, *info.shape[1:])
                if wanted is not None and (
                    len(wanted) != len(shape) or any(it not in (-1, size) for it, size in zip(wanted, shape, strict=True))
                ):
                    raise UnlikeError(f"output {output!r} of another shape")
            return render_predict(found, row)
        except RestError:
            raise UnlikeError("outputs that are none of this model's") from None

    return check


def _most_bytes(signature: Signature, examples: int | None) -> int | None:
    """Of an answer in JSON; None where the signature does not say how many numbers there are."""
    elements = 0
    for info in signature.outputs.values():
        shape = info.shape if info.shape is None or examples is None else (examples, *info.shape[1:])
        if shape is None or -1 in shape or info.dtype == "string":
            return None
        elements += math.prod(shape)
    return _MOST_BYTES_BESIDE + _MOST_BYTES_OF_NUMBER * elements


def check_alone(*, row: bool) -> Check:
    """What may be an answer, where no model is there to tell."""
    name, _ = ROWS if row else COLUMNS

    def check(content: bytes) -> bytes:
        return json.dumps({name: _answer_in(content, name)}, indent=4).encode()

    return check


def _answer_in(content: bytes, name: str) -> Any:
    """Raises UnlikeError."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise UnlikeError("no JSON") from None
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list | dict | int | float | str) or found == [] or "error" in document:
        raise UnlikeError(f"no {name}")
    return found
