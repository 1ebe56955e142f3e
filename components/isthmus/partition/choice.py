"""Which way to answer a request is fastest at which bandwidth.

A way's latency is a line over the time that a byte takes, x = 8 / bandwidth: fixed + bytes · x. The fastest ways are the lower envelope
of these lines: concave, with fewer pieces than lines, each breakpoint the crossing of two lines, x = (f₂ − f₁) / (b₁ − b₂). All is
computed in fractions, so that a way is never passed over by rounding (Neurosurgeon, ASPLOS 2017, compares all cuts at each request).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_BITS = 8
_BYTES_PER_MS = 1000  # at one Mbit/s, times _BITS


@dataclass(frozen=True)
class Way:
    """One way to answer a request. fixed_ms: what it takes at any bandwidth, finite and not negative. sent_bytes: finite, not negative."""

    name: str
    fixed_ms: float
    sent_bytes: float

    def latency_ms(self, megabits_per_second: float) -> float:
        """At a bandwidth; 0 is none at all, under which whatever is sent never arrives."""
        if not self.sent_bytes:
            return self.fixed_ms
        if not megabits_per_second:
            return math.inf
        return self.fixed_ms + self.sent_bytes * _BITS / (megabits_per_second * _BYTES_PER_MS)


@dataclass(frozen=True)
class Piece:
    """way: the fastest from `least` to `most`, both in Mbit/s. kept_least, kept_most: where it is left only outside of these."""

    way: int
    least_megabits_per_second: float
    most_megabits_per_second: float
    kept_least: float
    kept_most: float


@dataclass(frozen=True)
class Choice:
    """The way for every bandwidth.

    pieces: by falling bandwidth, from infinity to 0. margin: a share; a way is kept until it takes that much longer than the fastest.
    """

    ways: tuple[Way, ...]
    pieces: tuple[Piece, ...]
    margin: float

    def best(self, megabits_per_second: float) -> int:
        """The fastest way's index."""
        return next((p.way for p in self.pieces if megabits_per_second >= p.least_megabits_per_second), self.pieces[-1].way)

    def following(self, current: int, megabits_per_second: float) -> int:
        """The way to take now, where `current` was taken before: the same unless another is faster by the margin."""
        piece = next((piece for piece in self.pieces if piece.way == current), None)
        if piece is not None and piece.kept_least <= megabits_per_second <= piece.kept_most:
            return current
        return self.best(megabits_per_second)


def choose(ways: Sequence[Way], margin: float = 0.05) -> Choice:
    """The lower envelope of ways, of which there is at least one. margin: not negative.

    Ways with the same line count once, as the first of them.
    """
    lines = [(Fraction(way.fixed_ms), Fraction(way.sent_bytes)) for way in ways]
    order = [min(range(len(lines)), key=lambda i: (lines[i], i))]  # at x = 0: the least fixed time, of equals the fewest bytes
    starts = [Fraction(0)]
    while following := [i for i, line in enumerate(lines) if line[1] < lines[order[-1]][1]]:
        fixed, sent = lines[order[-1]]
        # The first to cross; of several that cross at one point the flattest, which is the fastest behind it.
        nearest = min(following, key=lambda i: ((lines[i][0] - fixed) / (sent - lines[i][1]), lines[i][1], i))
        starts.append((lines[nearest][0] - fixed) / (sent - lines[nearest][1]))
        order.append(nearest)
    ends = [*starts[1:], None]
    pieces = []
    for way, start, end in zip(order, starts, ends, strict=True):
        kept_start, kept_end = _kept(lines, order, way, Fraction(margin))
        pieces.append(Piece(way, _bandwidth(end), _bandwidth(start), _bandwidth(kept_end), _bandwidth(kept_start)))
    return Choice(tuple(ways), tuple(pieces), margin)


def _kept(lines: Sequence[tuple[Fraction, Fraction]], order: Sequence[int], way: int, margin: Fraction) -> tuple[Fraction, Fraction | None]:
    """From which x to which a way takes at most 1 + margin times as long as each other: f + b·x ≤ (1 + m)(f′ + b′·x). None: any."""
    fixed, sent = lines[way]
    start, end = Fraction(0), None
    for other in order:
        gap, slope = fixed - (1 + margin) * lines[other][0], sent - (1 + margin) * lines[other][1]
        if slope > 0:
            end = -gap / slope if end is None else min(end, -gap / slope)
        elif slope < 0:
            start = max(start, -gap / slope)
    return start, end


def _bandwidth(ms_per_byte: Fraction | None) -> float:
    """In Mbit/s; None stands for endless time, 0 for none."""
    if ms_per_byte is None:
        return 0.0
    try:
        return float(Fraction(_BITS, _BYTES_PER_MS) / ms_per_byte) if ms_per_byte else math.inf
    except OverflowError:
        return math.inf
