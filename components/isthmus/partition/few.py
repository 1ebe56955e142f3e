"""The few ways that are served, of all that were measured: fast enough wherever the network is. Pure.

Each way that is served is a tail in the memory of every server. So ways are added one by one, each time that one by which the largest
ratio to the fastest of all falls most, until that ratio is as good as 1.
"""

from collections.abc import Collection, Sequence
from typing import Final

MOST_INSIDE: Final = 3
"""Cuts inside of the network that a release has, besides all on the device and all in the cloud."""
_NEAR: Final = 1.01


def few(latencies_ms: Sequence[Sequence[float]], local: int, cloud: Collection[int], *, needed: Collection[int] = ()) -> tuple[int, ...]:
    """The ways to serve, in their order, without all-local; empty where that is as good as any everywhere.

    Args:
        latencies_ms: [situations][ways], positive; a situation is a bandwidth and a device.
        local: the way that sends nothing. cloud: ways that send the inputs: one of them is served wherever anything is.
        needed: ways of which one is served, whatever it gains.
    """
    if not latencies_ms:
        return ()
    ways = range(len(latencies_ms[0]))
    chosen = {local}

    def worst(candidate: int | None) -> tuple[float, float]:
        having = chosen if candidate is None else {*chosen, candidate}
        ratios = [min(row[way] for way in having) / min(row) for row in latencies_ms]
        return max(ratios), sum(ratios)

    def best(of: Collection[int]) -> int:
        """The one that is nearest to the fastest of them everywhere."""

        def ratios(way: int) -> tuple[float, float]:
            found = [row[way] / min(row[other] for other in of) for row in latencies_ms]
            return max(found), sum(found)

        return min(of, key=ratios)

    if needed:
        chosen.add(best(needed))
    while worst(None)[0] > _NEAR:
        inside = len(chosen - {local} - set(cloud))
        left = [way for way in ways if way not in chosen and (way in cloud if inside >= MOST_INSIDE else True)]
        left = [way for way in left if way not in cloud or not chosen & set(cloud)]
        found = min(left, key=worst, default=None)
        if found is None or worst(found) >= worst(None):
            break
        chosen.add(found)
    if chosen != {local} and cloud and not chosen & set(cloud):
        # A device may be slower or faster than was planned for: then the other extreme must be there to go to.
        chosen.add(best(cloud))
    return tuple(sorted(chosen - {local}))
