"""A network in two halves: this device runs the first layers, and the cloud role the rest, where that is the fastest way to answer.

Of one request at a time: many examples in one are answered whole. What crosses goes as text in JSON, which TensorFlow Serving reads, and
its Huffman code (gzip, RFC 1952) takes out what base64 adds. What the network takes is seen from what is sent; where nothing has been for a
while, a request that the device answers is sent in the smallest way besides, and nobody waits for that.
"""

import base64
import json
import math
import time
import zlib
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final, Protocol

import numpy as np

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.core.ways import SAMPLES, Chooser, Rate, Seen
from isthmus_agent.features import WireError, WireFormat
from isthmus_agent.formats.halves import Halves, Way
from isthmus_agent.protocol import PredictRequest
from isthmus_agent.server.answers import Check, Due
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.model import Array, InterpreterError, Model

PROBE_SECONDS: Final = 5.0
"""Between two probes of the round trip, at least."""
FIRST_LOOK_SECONDS, LOOK_SECONDS = 1.0, 30.0
"""After which what was seen of the rate is old: the first time, and twice as long each time that a look has changed nothing, up to the
second."""
_NEW_PART: Final = 0.25
"""Of the smoothed time of an own run, what the newest one is."""
_MOST_OPEN: Final = 16
_GZIP_WINDOW, _MEMORY = 31, 9
_FORM: Final = {True: "instances", False: "inputs"}


class Sent(Protocol):
    """What the cloud was asked. took_ms: from when it was sent over a connection that stood to the beginning of the reply; not a number
    while there is none. failure: why the reply is no answer; empty while that is not known."""

    took_ms: float
    failure: str


@dataclass(frozen=True)
class _Open:
    """A question whose time is not known yet. at: when it was asked."""

    question: Sent
    way: int
    size_bytes: int
    at: float


class Parted:
    """The ways of one content. Its methods are for one thread.

    fallback: asks the cloud. timeout_ms: how long that is waited for at most.
    """

    def __init__(self, halves: Halves, model: Model, fallback: Fallback, timeout_ms: float) -> None:
        self.fallback = fallback
        self._model, self._timeout_ms = model, timeout_ms
        self._ways = halves.ways
        self._wires = [WireFormat.of(it) for it in halves.ways]
        self._chooser, self._rate = Chooser(halves), Rate()
        self._own_ms = math.nan
        self._heads: dict[int, deque[float]] = {way: deque(maxlen=SAMPLES) for way in range(len(halves.ways))}
        self._open: list[_Open] = []
        self._probes_at = self._looks_at = self._rests_until = -math.inf
        self._looks = 0

    @property
    def way(self) -> Way | None:
        """As last chosen; None: all on the device."""
        return None if self._chooser.way is None else self._ways[self._chooser.way]

    def ran(self, seconds: float) -> None:
        """The device has run the whole network for one example."""
        found = 1000 * seconds
        self._own_ms = found if math.isnan(self._own_ms) else self._own_ms + _NEW_PART * (found - self._own_ms)

    def body(self, asked: PredictRequest, due: Due) -> bytes | None:
        """What to send for a request; None where the device answers it."""
        now = time.monotonic()
        self._hear(now)
        if now < self._rests_until or not self._takes(asked):
            return None
        model = self._model.manifest.model
        if now >= self._probes_at and not self._open:  # beside what is being sent a probe would wait for it
            self._probes_at = now + PROBE_SECONDS
            self.fallback.cloud.probe(model)
        within_ms = self.fallback.within(due).seconds
        most_ms = self._timeout_ms if within_ms is None else min(self._timeout_ms, 1000 * within_ms)
        trip_ms = self.fallback.cloud.round_trip_ms() + self._rate.over_ms
        heads = {way: median_low(last) for way, last in self._heads.items() if last}
        seen = Seen(self._own_ms, trip_ms, self._rate.ms_per_byte, most_ms, heads)
        before = self._chooser.way
        way = self._chooser.look(seen)
        if way != before:
            self._looks = 0
        return None if way is None else self._made(way, asked)

    def asks(self, question: Hashable, body: bytes) -> None:
        """What was made by `body` is asked now."""
        way = self._chooser.way
        if way is not None:
            self._opened(question, way, body)

    def look(self, asked: PredictRequest, check: Check) -> None:
        """Sends a request that the device has answered, where nothing is known of the rate any more and the cloud may be asked."""
        now = time.monotonic()
        cloud = self.fallback.cloud
        if now < max(self._looks_at, self._rests_until) or self._open or not math.isfinite(cloud.round_trip_ms()) or not self._takes(asked):
            return
        if self._rate.is_known:
            self._looks_at = now + doubled_seconds(FIRST_LOOK_SECONDS, LOOK_SECONDS, self._looks + 1)
            self._looks += 1
        for last in self._heads.values():  # what is not run any more is as was planned, in time: it may have met a busy moment
            if last:
                last.popleft()
        way = self._chooser.smallest
        body = self._made(way, asked)
        question = None if body is None else cloud.ask(self._model.manifest.model, body, check, Due(now), is_needed=False)
        if body is not None and question is not None:
            self._opened(question, way, body)

    def _takes(self, asked: PredictRequest) -> bool:
        """One example, of the model's own signature."""
        return asked.inputs.keys() == self._model.signature.inputs.keys() and all(it.shape[:1] == (1,) for it in asked.inputs.values())

    def _made(self, way: int, asked: PredictRequest) -> bytes | None:
        """None where the head fails, or does not make what the way says: the whole may have an answer."""
        began = time.monotonic()
        try:
            content = self._wires[way].encode(self._features(self._ways[way], asked.inputs))
        except (InterpreterError, WireError, KeyError):
            return None
        self._heads[way].append(1000 * (time.monotonic() - began))
        return written(self._ways[way].tail, content, row=asked.row)

    def _features(self, way: Way, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        made = {} if way.head is None else self._model.head(way.head, inputs)
        return {it.name: made[it.name] if it.name in made else np.asarray(inputs[it.name]) for it in way.tensors}

    def _opened(self, question: Any, way: int, body: bytes) -> None:
        self._open = [*self._open, _Open(question, way, len(body), time.monotonic())][-_MOST_OPEN:]

    def _hear(self, now: float) -> None:
        """Takes what has become known of what was sent. Late is what took as long as is ever waited."""
        trip_ms = self.fallback.cloud.round_trip_ms()
        still = []
        for it in self._open:
            besides_ms = self._chooser.besides_ms(it.way, 0.0 if not math.isfinite(trip_ms) else trip_ms)
            if it.question.failure and not math.isnan(it.question.took_ms):  # it has no such tail, say
                self._rests_until = now + LOOK_SECONDS
            elif not math.isnan(it.question.took_ms):
                if self._rate.sent(it.size_bytes, it.question.took_ms, besides_ms):
                    self._looks, self._looks_at = 0, now + FIRST_LOOK_SECONDS
            elif 1000 * (now - it.at) >= self._timeout_ms:
                self._rate.was_late(it.size_bytes, self._timeout_ms, besides_ms)
            else:
                still.append(it)
        self._open = still


def written(signature: str, content: bytes, *, row: bool) -> bytes:
    """A request to a tail. row: whether its answer is to be in rows."""
    text = base64.b64encode(content).decode()
    document = json.dumps({"signature_name": signature, _FORM[row]: [{"b64": text}]}, separators=(",", ":")).encode()
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW, _MEMORY, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(document) + packer.flush()
