"""Which way a device answers a request: by itself, or with the rest of its network in the cloud role. Pure.

A way's time is a line over what a byte takes: (head on this device) + round trip + (tail) + bytes · (ms a byte). What a byte takes is seen
from what was sent: the time until the answer, less the round trip and the tail's time, over the bytes. The way is kept until another is
faster by the margin, so that a rate which swings about a crossing of two lines moves nothing (`isthmus.partition.choice` says more).
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from isthmus_agent.formats.halves import Halves
from isthmus_agent.formats.numbers import MILLION

LEAST_SEEN_BYTES: Final = 2048
"""Of less the time says nothing of the rate: it is round trips and chance."""
SAMPLES: Final = 3
"""That the rate is the median of."""
_LEAST_MS_PER_BYTE: Final = 1e-7


class Rate:
    """What a byte takes, in ms: the median of the last few, so that one that met a cold server, or a pause of somebody's, moves nothing.

    What few bytes take beyond all that was planned is the way's own: a server that is busy, say. It is forgotten with what larger ones say.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=SAMPLES)
        self._over: deque[float] = deque(maxlen=SAMPLES)

    @property
    def over_ms(self) -> float:
        """What a request takes besides, beyond round trip, tail and bytes; 0 where nothing says so."""
        return median_low(self._over) if self._over else 0.0

    @property
    def ms_per_byte(self) -> float:
        """Not a number before the first."""
        return median_low(self._last) if self._last else math.nan

    @property
    def is_known(self) -> bool:
        """Whether there are as many as the median is of."""
        return len(self._last) == SAMPLES

    def sent(self, sent_bytes: int, took_ms: float, besides_ms: float) -> bool:
        """A request was answered. Whether that is news: a byte took less than half, or more than twice, of what was known.

        took_ms: until its answer. besides_ms: of that, what bytes have no part in.
        """
        if sent_bytes < LEAST_SEEN_BYTES and self.is_known:
            self._over.append(max(0.0, took_ms - besides_ms - sent_bytes * self.ms_per_byte))
            return False
        found, before = max(_LEAST_MS_PER_BYTE, (took_ms - besides_ms - self.over_ms) / sent_bytes), self.ms_per_byte
        if self._over:
            self._over.popleft()
        self._last.append(found)
        return not before / 2 <= found <= 2 * before

    def was_late(self, sent_bytes: int, waited_ms: float, besides_ms: float) -> None:
        """None came in a time: a byte takes longer than that says, at least, and that is believed at once."""
        found = max(_LEAST_MS_PER_BYTE, (waited_ms - besides_ms) / sent_bytes)
        self._last.extend([max(found, *self._last, 0.0)] * SAMPLES)


@dataclass(frozen=True)
class Seen:
    """What a device has measured. own_ms: the whole network on it; not a number before its first run. round_trip_ms: infinity while the
    cloud is away. ms_per_byte: not a number where nothing was sent. most_ms: within which an answer must be there. head_ms: of the ways
    whose heads have run, what they took here.
    """

    own_ms: float
    round_trip_ms: float
    ms_per_byte: float
    most_ms: float = math.inf
    head_ms: Mapping[int, float] = field(default_factory=dict)


class Chooser:
    """The way that is taken: an index of the ways, or None: all on the device, which it begins with."""

    def __init__(self, halves: Halves) -> None:
        self._halves = halves
        self.way: int | None = None

    def besides_ms(self, way: int, round_trip_ms: float) -> float:
        """Of a way, what neither the device nor bytes have a part in."""
        return round_trip_ms + self._halves.ways[way].cloud_microseconds / 1000

    def latency_ms(self, way: int | None, seen: Seen) -> float:
        """What a way would take now; infinity where it cannot be taken, not a number where it is not known."""
        if way is None:
            return seen.own_ms
        it = self._halves.ways[way]
        planned_ms = seen.own_ms * it.head_microseconds / self._halves.whole_microseconds
        found = seen.head_ms.get(way, planned_ms) + self.besides_ms(way, seen.round_trip_ms) + it.sent_bytes * seen.ms_per_byte
        return math.inf if found > seen.most_ms else found

    def look(self, seen: Seen) -> int | None:
        """Chooses anew. What was not measured yet leaves everything on the device."""
        taken = {way: self.latency_ms(way, seen) for way in (None, *range(len(self._halves.ways)))}
        if any(map(math.isnan, taken.values())):
            self.way = None
            return None
        fastest = min(taken, key=lambda way: taken[way])
        if taken[self.way] > (1 + self._halves.margin_millionths / MILLION) * taken[fastest]:
            self.way = fastest
        return self.way

    @property
    def smallest(self) -> int:
        """The way that sends the fewest bytes of those that tell something of the rate: by it the network is looked at."""
        sizes = [it.sent_bytes for it in self._halves.ways]
        telling = [size for size in sizes if size >= LEAST_SEEN_BYTES]
        return sizes.index(min(telling) if telling else max(sizes))
