"""What a gateway has counted for each track, and the sum of it over gateways that come, go and restart. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.names import TRACKS


@dataclass(frozen=True)
class Counters:
    """Requests of one track, counted up from some start.

    requests: answered, or given up by the gateway. errors: of these, what clients saw fail (HTTP 5xx; gRPC's equals of it).
    refused: of these, what was answered as the client's own fault (HTTP 4xx).
    times: upper edge of a bin of the gateway's histogram, in ms → requests in it; each took at most so long.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    times: Mapping[float, int] = field(default_factory=dict)

    @property
    def timed(self) -> int:
        """How many requests the histogram holds. It lags behind the counters by seconds."""
        return sum(self.times.values())

    def slower_than(self, limit_ms: float) -> int:
        """How many may have taken longer than that."""
        return sum(count for edge, count in self.times.items() if edge > limit_ms)

    def quantile_ms(self, share: float) -> float:
        """The smallest edge that at least this share of the requests did not exceed; 0 without any.

        `quantile_ms(0.95) <= x` says the same as `slower_than(x) <= 5 % of timed`, for every edge x.
        """
        wanted, seen = share * self.timed, 0
        for edge in sorted(self.times):
            seen += self.times[edge]
            if seen >= wanted:
                return edge
        return 0.0

    def __add__(self, other: "Counters") -> "Counters":
        edges = {*self.times, *other.times}
        times = {edge: self.times.get(edge, 0) + other.times.get(edge, 0) for edge in edges}
        return Counters(self.requests + other.requests, self.errors + other.errors, self.refused + other.refused, times)

    def since(self, earlier: "Counters") -> "Counters":
        """What was added since `earlier`. A counter that went down was started again from 0: then everything was."""
        times = {edge: count - earlier.times.get(edge, 0) for edge, count in self.times.items()}
        requests, errors, refused = self.requests - earlier.requests, self.errors - earlier.errors, self.refused - earlier.refused
        gone = not earlier.times.keys() <= self.times.keys()
        if gone or min(requests, errors, refused, *times.values()) < 0:
            return self
        return Counters(requests, errors, refused, {edge: count for edge, count in times.items() if count})


Snapshot = Mapping[str, Counters]
"""Track → counters, as one gateway has them at one moment."""


@dataclass(frozen=True)
class Tally:
    """The sum over all gateways since the tally began: `Tally().observe(…).observe(…)`.

    last: gateway → its latest snapshot. total: track → everything that was seen being added.
    """

    last: Mapping[str, Snapshot] = field(default_factory=dict)
    total: Snapshot = field(default_factory=lambda: dict.fromkeys(TRACKS, Counters()))

    def observe(self, gateway: str, now: Snapshot, *, from_zero: bool = False) -> "Tally":
        """The tally after one more snapshot of one gateway.

        gateway: a name that a restart does not change. from_zero: of a gateway that is seen for the first time: whether it
            came up after the tally began, so that all it has counted belongs to it. Otherwise its first snapshot is only
            where its counting starts.
        """
        before = self.last.get(gateway, {} if from_zero else now)
        total = {track: self.total[track] + now.get(track, Counters()).since(before.get(track, Counters())) for track in TRACKS}
        return Tally({**self.last, gateway: now}, total)
