"""Removing bundles and deltas that nothing in force names any more: those of earlier releases, and plain ones after contents were sealed.

Beside publishers, at any time: what is in force is looked at again right before each removal, and a publisher looks after what it has put
once that is in force (`publish`). A device in the middle of such a file finds it gone, looks anew, and is told what is in force.
"""

from collections.abc import Iterator
from typing import Final

from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.reading import Current, read

_AT_ONCE: Final = 1000


def unnamed(place: Place, keyring: Keyring, current: Current) -> list[str]:
    """Objects of the key ring's fleets that no role in force names. Rosters stay: a lost one comes back from an earlier one."""
    targets = [it for fleet in keyring.fleets if fleet in current.delegated for it in current.delegated[fleet].signed.targets.items()]
    named = {place.target_key(path, target.hashes["sha256"]) for path, target in targets}
    return [key for fleet in keyring.fleets for key in place.objects.list(f"{place.prefix}targets/{fleet}/") if key not in named]


def sweep(place: Place, keyring: Keyring) -> Iterator[str]:
    """Removes them; the keys, as they go. Raises IntegrityError where what is in force cannot be read: nothing is removed then."""
    while True:
        current = read(place, keyring.anchor())
        keys = unnamed(place, keyring, current)
        while keys and place.objects.tag(place.timestamp_key) == current.tag:
            now, keys = keys[:_AT_ONCE], keys[_AT_ONCE:]
            place.objects.delete(now)
            yield from now
        if not keys:
            return
