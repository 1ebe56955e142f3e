"""Samples of requests, as the fleet's owner wants them: leave for one at a time is given to the server, and what it hands over is taken.

Samples are spread over the day: leave is given no sooner than a part of the day after the last one. The first leave of a process comes
after a random part of that, so that a program that is started often sends no more.
"""

import os
import random
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from isthmus_agent import channel
from isthmus_agent.formats import samples
from isthmus_agent.formats.numbers import MINUTE_SECONDS, FormatError
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.manager.child import Child
from isthmus_agent.manager.mailing import Mailing


class Sampling:
    """What is wanted, and what was taken. Only the thread that serves uses it. utc_seconds: None where the time is not known."""

    def __init__(
        self, mailing: Mailing, utc_seconds: Callable[[], float | None], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._mailing, self._utc_seconds, self._monotonic = mailing, utc_seconds, monotonic
        self._wanted: SamplesWanted | None = None
        self._owner_key = b""
        self._next_at: float | None = None  # None: before the first
        self._asked: Child | None = None  # who has leave

    def follow(self, wanted: SamplesWanted | None, *, is_known: bool = True) -> None:
        """From now on that is wanted. None: nothing; what was not sent yet is forgotten, unless it is only not known what is wanted."""
        if wanted is None:
            self._end()
            if is_known:
                self._mailing.forget()
        elif wanted != self._wanted:
            self._end()
            if wanted.owner_key != self._owner_key:  # what was taken before was for somebody else
                self._mailing.forget()
            now, spacing_seconds = self._monotonic(), wanted.spacing_seconds
            if self._next_at is None:
                self._next_at = now + random.uniform(0, spacing_seconds)  # noqa: S311 - it spreads, and hides nothing
            self._next_at = min(self._next_at, now + spacing_seconds)
            self._owner_key = wanted.owner_key
        self._wanted = wanted

    def see_to(self, server: Child | None, now: float) -> float | None:
        """Gives leave, where it is time. When it is of use again."""
        wanted, next_at = self._wanted, self._next_at
        if wanted is None or next_at is None or server is None or server.is_relay or server is self._asked:
            return None
        if now < next_at:
            return next_at
        if server.channel.send(channel.SAMPLE, share_millionths=wanted.share_millionths, most_bytes=wanted.most_bytes):
            self._asked = server
            return None
        return now + 1.0

    def heard(self, server: Child, descriptors: Sequence[int]) -> None:
        """Takes what a server hands over; only from the one that has leave. Never raises for what is in it."""
        try:
            found = _read(descriptors[0]) if server is self._asked else b""
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        wanted = self._wanted
        if server is not self._asked or wanted is None:
            return
        self._asked, self._next_at = None, self._monotonic() + wanted.spacing_seconds
        with suppress(FormatError):
            taken = samples.unpacked(found)
            if len(taken) == 1 and taken[0].digest == server.digest and len(found) <= wanted.most_bytes + samples.MOST_HEAD_BYTES + 4:
                minutes = int((self._utc_seconds() or 0) // MINUTE_SECONDS)
                self._mailing.put(replace(taken[0], minutes=minutes), wanted.owner_key)

    @property
    def status(self) -> Mapping[str, Any] | None:
        """For people at the device. None: no samples are wanted."""
        wanted = self._wanted
        return None if wanted is None else {**wanted.to_value(), **self._mailing.status}

    def _end(self) -> None:
        if self._asked is not None:
            self._asked.channel.send(channel.SAMPLE, share_millionths=0, most_bytes=0)
            self._asked = None


def _read(descriptor: int) -> bytes:
    """What is in the memory that was handed over; nothing of what is no such memory, or larger than a sample."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > samples.MOST_PACKED_BYTES:
        return b""
    return os.pread(descriptor, samples.MOST_PACKED_BYTES, 0)
