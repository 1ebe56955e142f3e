"""Fields of our own in the signed part of a repository's metadata, beside those of TUF (which keeps what it does not know).

- timestamp: when it was signed. A device takes it for the earliest that it can be now. Also the version of the root that is in force, so
  that a device asks for a newer one only where there is one.
- targets: the epoch of each fleet, by which the offline keys say which numbers the fleet's own key may give. Who steals that key can
  use up its epoch and no more: the next one begins above all of it, so that no device has to be visited.
"""

from collections.abc import Mapping
from typing import Any

from isthmus_agent.formats.ecdsa import CURVES
from isthmus_agent.formats.numbers import MOST_NUMBER, integer

FIELD = "isthmus"
SCHEMES = frozenset({"ed25519", *CURVES})
"""Of the keys that sign a repository: what a device verifies, which has no library for others."""
NUMBERS_PER_EPOCH = 2**32
MOST_EPOCH = 2**20
MOST_SECONDS = 2**36
"""Since 1970; what is above it is no time of ours."""


def numbers_of(epoch: int) -> range:
    """The numbers that assignments may have in an epoch; from 1."""
    return range(max(1, epoch * NUMBERS_PER_EPOCH), (epoch + 1) * NUMBERS_PER_EPOCH)


def epochs_field(epochs: Mapping[str, int]) -> dict[str, Any]:
    """For the top-level targets: the epoch of each fleet."""
    return {"format": 1, "epochs": dict(epochs)}


def epoch_in(field: Any, fleet: str) -> int:
    """The epoch of a fleet; 0 where none is said. Raises FormatError for what is no epoch."""
    epochs = field.get("epochs", {}) if isinstance(field, dict) else {}
    found = epochs.get(fleet, 0) if isinstance(epochs, dict) else None
    return integer(found, f"epochs.{fleet}", 0, MOST_EPOCH)


def signed_field(at_seconds: int, root: int = 0) -> dict[str, Any]:
    """For the timestamp: when it is signed, in seconds since 1970, and the version of the root; 0: that is not said."""
    return {"format": 1, "signed_at": at_seconds, **({"root": root} if root else {})}


def signed_at_in(field: Any) -> int:
    """When a timestamp was signed; 0 where it does not say. Raises FormatError for what is no time."""
    return integer(field.get("signed_at", 0) if isinstance(field, dict) else 0, "signed_at", 0, MOST_SECONDS)


def root_in(field: Any) -> int:
    """The version of the root that a timestamp names; 0 where it does not. Raises FormatError for what is no version."""
    return integer(field.get("root", 0) if isinstance(field, dict) else 0, "root", 0, MOST_NUMBER)
