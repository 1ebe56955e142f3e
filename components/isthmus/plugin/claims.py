"""What no two resources can have at the same time, and that nobody holds yet: two that ask for it in one update are told at preview."""

import threading
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


class Claims:
    """Things by the URN of the resource that asked for them. Lives as long as the plugin, which is as long as an update."""

    def __init__(self) -> None:
        self._by_urn: dict[str, frozenset[Hashable]] = {}
        self._lock = threading.Lock()

    def taken(self, urn: str, wanted: Collection[T]) -> Mapping[T, str]:
        """Claims what a resource wants, instead of what it wanted before; what others have claimed already, with their URNs."""
        with self._lock:
            others = {thing: other for other, things in self._by_urn.items() if other != urn for thing in things}
            self._by_urn[urn] = frozenset(thing for thing in wanted if thing not in others)
        return {thing: others[thing] for thing in wanted if thing in others}

    def drop(self, urn: str) -> None:
        """A resource that is gone wants nothing any more."""
        with self._lock:
            self._by_urn.pop(urn, None)
