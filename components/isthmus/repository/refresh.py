"""Signing anew what would expire: for CI, some times a day (`isthmus fleet refresh`).

The timestamp is signed each time, so that devices see that nobody holds it back; the others when less than a third of their time is left,
and where their keys are at hand. What is left to somebody with the offline keys is said.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tuf.api.metadata import Metadata

from isthmus.limits import SIGNED_DAYS
from isthmus.repository.adopting import adopt
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import SNAPSHOT, TIMESTAMP, TOP_ROLES, Place
from isthmus.repository.reading import Current, read


@dataclass(frozen=True)
class Refreshed:
    """signed: the roles that were signed anew. waiting: when those expire that should be, and whose keys are not here."""

    signed: tuple[str, ...]
    waiting: dict[str, datetime]


def refresh(place: Place, keyring: Keyring, *, now: datetime | None = None) -> Refreshed:
    """Raises NotEnoughKeysError without the keys of snapshot and timestamp, RacedError where somebody publishes in the same moment."""
    now = now or datetime.now(UTC)
    current = read(place, keyring.anchor())
    due = dict(_due(current, now))
    online = {role for role in due if role in {SNAPSHOT, TIMESTAMP} or keyring.can_sign(role)}
    done = adopt(place, keyring, current, now, again=frozenset(online | {TIMESTAMP}))
    return Refreshed(tuple(done), {role: expires for role, expires in due.items() if role not in online})


def _due(current: Current, now: datetime) -> Iterator[tuple[str, datetime]]:
    """Roles of whose time less than a third is left, and when they expire."""
    tops: dict[str, Metadata[Any]] = {role: getattr(current, role) for role in TOP_ROLES}
    for role, metadata in {**tops, **current.delegated}.items():
        if is_due(role, metadata.signed.expires, now):
            yield role, metadata.signed.expires


def sign_again_at(current: Current, others: Collection[str] = ()) -> datetime:
    """When the first role should be signed anew. others: roles that somebody else signs."""
    tops: dict[str, Metadata[Any]] = {role: getattr(current, role) for role in TOP_ROLES}
    expires: dict[str, datetime] = {role: it.signed.expires for role, it in {**tops, **current.delegated}.items()}
    return min(when - _left(role) for role, when in expires.items() if role not in others)


def is_due(role: str, expires: datetime, now: datetime) -> bool:
    """Whether a role should be signed anew."""
    return expires - now < _left(role)


def _left(role: str) -> timedelta:
    return timedelta(days=SIGNED_DAYS[role if role in TOP_ROLES else "delegated"].default) / 3
