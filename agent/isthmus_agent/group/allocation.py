"""Which stream goes to whom: formula 2 for work that is not cut (Q‖Cmax), with the least movement.

All devices reckon with the same function of what all have said, so that homes that decide each for itself do not run to the same place.

1. A stream whose owner is there stays. One that may not move is done at home, whatever happens. One that is for a class of peers goes to
   none but them, and never home.
2. The others, the largest first (LPT): home where it is not full by it, for there the data need not travel; else to whom would be the
   least busy with it.
3. As long as the busiest device is fuller than `full_percent`, the one stream moves whose move makes the busier of the two ends least busy,
   if that is a gain of `gain_percent` at least: none moves to and fro, and none moves where nobody waits.
"""

from collections.abc import Mapping

from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.presence import Stream
from isthmus_agent.group.settings import Settings

Place = tuple[str, str]
"""A stream of the group: its home, and its name there."""


def allocate(
    capacities: Mapping[str, int], streams: Mapping[Place, Stream], settings: Settings, classes: Mapping[str, str] | None = None
) -> Mapping[Place, str | None]:
    """Each stream's owner; None where there is nobody.

    Args:
        capacities: of those that may own streams, in units of work per 1000 seconds, each positive.
        streams: with their present owners, who may be gone.
        classes: of the devices, where there are any; by them streams that are for a class alone find their owners.
    """
    known = classes or {}

    def may(name: str | None, place: Place) -> bool:
        """Whether a device is one of those that a stream is for."""
        among = streams[place].among
        if name is None or name not in capacities:
            return False
        return not among or (name != place[0] and among in (ANY_CLASS, known.get(name, ANY_CLASS)))

    owners: dict[Place, str | None] = {}
    load = dict.fromkeys(capacities, 0)

    def give(place: Place, owner: str | None) -> None:
        owners[place] = owner
        if owner in load:
            load[owner] += streams[place].work_per_1000_seconds

    def busy(name: str, more: int = 0) -> float:
        return (load[name] + more) / capacities[name]

    orphans = []
    for place, stream in sorted(streams.items()):
        if not stream.may_move:
            give(place, place[0])
        elif may(stream.owner, place):
            give(place, stream.owner)
        else:
            orphans.append((-stream.work_per_1000_seconds, place))
    full = settings.full_percent / 100
    for minus_work, place in sorted(orphans):
        home, work = place[0], -minus_work
        if may(home, place) and busy(home, work) <= full:
            give(place, home)
        else:
            those = [name for name in capacities if may(name, place)]
            give(place, min(those, key=lambda name: (busy(name, work), name != home, name), default=None))
    for _ in range(len(streams) if len(capacities) > 1 else 0):
        busiest = max(capacities, key=lambda name: (busy(name), name))
        before = busy(busiest)
        moves = [
            (max(busy(busiest, -work), busy(name, work)), place, name)
            for place, owner in owners.items()
            if owner == busiest and streams[place].may_move and (work := streams[place].work_per_1000_seconds)
            for name in capacities
            if name != busiest and may(name, place)
        ]
        after, place, name = min(moves, default=(before, ("", ""), ""))
        if before <= full or after > before * (1 - settings.gain_percent / 100) or after >= before:
            break
        load[busiest] -= streams[place].work_per_1000_seconds
        give(place, name)
    return owners
