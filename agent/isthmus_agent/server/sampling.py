"""Samples of requests, handed to the manager as it asks for them: one at a time, and never waited for.

The manager gives leave for one (`channel.SAMPLE`), and for the next when it has room again. Without leave nothing is drawn and nothing
copied. A sample lies in memory that has no name (a memfd), whose descriptor is handed over; where that cannot be, there is no sample.
"""

import os
import secrets
from collections.abc import Mapping
from typing import Any

from isthmus_agent import channel
from isthmus_agent.channel import Channel
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.samples import Sample


class Sampling:
    """What is drawn of requests. content: the digest of what answers them."""

    def __init__(self, control: Channel, content: str) -> None:
        self._control, self._content = control, content
        self._share_millionths = self._most_bytes = 0

    def allow(self, message: Mapping[str, Any]) -> None:
        """The manager's leave for one sample, or the end of it (a share of 0)."""
        self._share_millionths, self._most_bytes = int(message["share_millionths"]), int(message["most_bytes"])

    def is_drawn(self, size_bytes: int) -> bool:
        """Whether a request is taken; size_bytes: with its answer. The draw is by the system's random numbers: no client foresees it."""
        fits = 0 < size_bytes <= self._most_bytes
        return self._share_millionths > 0 and fits and secrets.randbelow(MILLION) < self._share_millionths

    def take(self, model: str, status: int, confidence: float | None, request: bytes, answer: bytes) -> None:
        """Hands a request over. Never raises, and never waits."""
        sure = None if confidence is None else round(confidence * MILLION)
        packed = Sample(0, self._content, model, status, sure, request, answer).packed()
        try:
            descriptor = os.memfd_create("isthmus-sample", os.MFD_CLOEXEC)
        except OSError:
            return
        try:
            if os.write(descriptor, packed) == len(packed):
                was_sent = self._control.send(channel.SAMPLED, descriptor)
                self._share_millionths *= not was_sent
        except OSError:
            return
        finally:
            os.close(descriptor)
