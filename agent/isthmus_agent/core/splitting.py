"""One job of many rows split over servers, while it runs: who has which rows still to do.

Each server gets a run of rows, and takes them in chunks. When a server is lost, what it had not done is free to be given out again. Each
row is at any time in exactly one place: free, waiting for a server, in a server's hands, or done. A server is whatever takes rows, and a
row whatever is done as a whole: a device, and a tile of an image.

Not safe for threads: the caller holds a lock.
"""

from collections import deque
from collections.abc import Iterable
from itertools import pairwise

Rows = tuple[int, int]
"""start and stop, as of a slice."""


class Split:
    """The state of one job. servers: names of those that work, in the order of the plans' parts."""

    def __init__(self, todo: Iterable[Rows], servers: Iterable[str]) -> None:
        self._free = deque((start, stop) for start, stop in todo if stop > start)
        self._waiting: dict[str, deque[Rows]] = {name: deque() for name in servers}
        self._in_hand: dict[str, list[Rows]] = {name: [] for name in self._waiting}
        self._is_shared = False

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    @property
    def free(self) -> int:
        """Rows that no server has yet."""
        return count(self._free)

    @property
    def is_done(self) -> bool:
        return not self._free and not any(self._waiting.values()) and not any(self._in_hand.values())

    def waiting(self, server: str) -> int:
        """Rows that wait for the server: it has not got them yet."""
        return count(self._waiting.get(server, ()))

    def rest(self, server: str) -> int:
        """Rows that the server still has to do."""
        return self.waiting(server) + count(self._in_hand[server])

    def take(self, server: str, most: int) -> Rows | None:
        """Up to `most` ≥ 1 rows into the server's hands; None where there are none for it now. Before anything is shared, whoever
        asks gets the next free rows."""
        queue = self._waiting.get(server)
        if queue is None:
            return None
        queue = queue if self._is_shared else self._free
        if not queue:
            return None
        start, stop = queue.popleft()
        if stop - start > most:
            queue.appendleft((start + most, stop))
            stop = start + most
        self._in_hand[server].append((start, stop))
        return start, stop

    def done(self, server: str, rows: Rows) -> None:
        """The rows are out of its hands for good. Raises ValueError where they were not in them."""
        self._in_hand[server].remove(rows)

    def lose(self, server: str, rows: Rows) -> None:
        """The server gave these rows up and takes no more; what was waiting for it is free. Rows that it still has in hand are
        its until they are done or given up, too. Raises ValueError where the rows were not in its hands."""
        self._in_hand[server].remove(rows)
        self._free.extend((rows, *self._waiting.pop(server, ())))

    def recall(self) -> None:
        """What waits for the servers is free again, to be shared anew."""
        for queue in self._waiting.values():
            self._free.extend(queue)
            queue.clear()

    def give_out(self, parts: Iterable[int]) -> None:
        """Gives all free rows out: so many to each server, in their order."""
        for name, part in zip(self.servers, parts, strict=True):
            self._move(name, part)
        self._is_shared = True

    def _move(self, server: str, part: int) -> None:
        while part:
            start, stop = self._free.popleft()
            if stop - start > part:
                self._free.appendleft((start + part, stop))
                stop = start + part
            self._waiting[server].append((start, stop))
            part -= stop - start


def count(ranges: Iterable[Rows]) -> int:
    """How many rows these are."""
    return sum(stop - start for start, stop in ranges)


def joined(ranges: Iterable[Rows]) -> list[Rows]:
    """The same rows in order, as few ranges as can be."""
    found: list[Rows] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found


def missing(ranges: Iterable[Rows], rows: int) -> list[Rows]:
    """What of the first `rows` rows these leave out."""
    edges = [(0, 0), *joined(ranges), (rows, rows)]
    return [(before[1], after[0]) for before, after in pairwise(edges) if after[0] > before[1]]
