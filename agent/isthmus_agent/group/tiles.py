"""One large input done by several devices at once: whole tiles by formula 2 with measured speeds, put together in their order.

Each device has a few tiles in hand, so that it never waits for the bus. The tiles of one that is lost are split again over the others. A
device that runs out of tiles while others have some waiting has the rest split again by the speeds that the job itself has shown.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from isthmus_agent.core.dividing import Division, divide
from isthmus_agent.core.splitting import Split

MOST_TILES: Final = 4096
IN_HAND: Final = 2
"""Tiles that a device has at a time: one that it does, and one on its way."""
_MEASURED_TILES: Final = 2
"""So many tiles tell a device's speed better than what it said before."""


class Job:
    """One input's tiles. tiles: their contents. per_second: by device, how many of them it does; all positive, at least one device.

    Raises ValueError for other numbers.
    """

    def __init__(self, tiles: Sequence[bytes], per_second: Mapping[str, float], now: float) -> None:
        if not 1 <= len(tiles) <= MOST_TILES:
            raise ValueError(f"found {len(tiles)} tiles, expected 1 to {MOST_TILES}")
        self.tiles = tiles
        self._per_second = dict(per_second)
        self._began_at = now
        self._done_by = dict.fromkeys(per_second, 0)
        self._results: dict[int, bytes] = {}
        self._in_hand: dict[str, set[int]] = {name: set() for name in per_second}
        self._split = Split([(0, len(tiles))], per_second)
        division = self._share(now)
        self.parts: Mapping[str, int] = dict(zip(self._split.servers, division.parts, strict=True))
        self.predicted_seconds = division.makespan_seconds
        """From its beginning until all is done, as formula 2 says."""

    @property
    def results(self) -> tuple[bytes, ...] | None:
        """Of all tiles in their order; None as long as one is missing."""
        return tuple(self._results[index] for index in range(len(self.tiles))) if len(self._results) == len(self.tiles) else None

    @property
    def is_lost(self) -> bool:
        """Whether nobody is left to do what is missing."""
        return not self._split.servers and not any(self._in_hand.values()) and self.results is None

    @property
    def largest_bytes(self) -> int:
        """Of its tiles."""
        return max(map(len, self.tiles))

    def next(self, now: float) -> tuple[str, int] | None:
        """A tile that goes out now: to whom, and its index; None where everybody has enough."""
        found = self._taken()
        is_short = self._split.free or any(not self._in_hand[device] for device in self._split.servers)
        if found is None and is_short and self._split.servers:
            self._split.recall()
            self._share(now)
            found = self._taken()
        return found

    def done(self, device: str, index: int, result: bytes) -> None:
        """One tile's result."""
        self._in_hand[device].remove(index)
        self._done_by[device] += 1
        self._results[index] = result
        self._split.done(device, (index, index + 1))

    def lose(self, device: str, index: int) -> None:
        """A device that will not do a tile, and gets no other."""
        self._in_hand[device].remove(index)
        self._split.lose(device, (index, index + 1))

    def _taken(self) -> tuple[str, int] | None:
        for device in sorted(self._split.servers, key=lambda it: len(self._in_hand[it])):
            if len(self._in_hand[device]) < IN_HAND and (rows := self._split.take(device, 1)):
                self._in_hand[device].add(rows[0])
                return device, rows[0]
        return None

    def _speed(self, device: str, now: float) -> float:
        done, seconds = self._done_by[device], now - self._began_at
        return done / seconds if done >= _MEASURED_TILES and seconds > 0 else self._per_second[device]

    def _share(self, now: float) -> Division:
        devices = self._split.servers
        division = divide(self._split.free, [self._speed(it, now) for it in devices], [self._split.rest(it) for it in devices])
        self._split.give_out(division.parts)
        return division
