"""What an owner wants of a fleet's inputs: the consent, which is signed with the assignment. Without it nothing is sampled.

Whoever signs for the fleet says to which key samples are encrypted; nothing else in the store can switch them on, or turn them to another.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import DAY_SECONDS, MILLION, FormatError, integer
from isthmus_agent.formats.roster import has_labels
from isthmus_agent.formats.x25519 import KEY_BYTES

MOST_PER_DAY: Final = DAY_SECONDS
MOST_SAMPLE_BYTES: Final = 256 << 10
KIND: Final = "x25519"
EXPECTED_KEY: Final = f"{KIND}: and {KEY_BYTES} bytes in base64, as `isthmus keys sampling` shows it"
_FINGERPRINT_BYTES: Final = 8


@dataclass(frozen=True)
class SamplesWanted:
    """owner_key: the public half, 32 bytes of X25519. share_millionths: of the requests; most_per_day: of one device, evenly over the day.

    most_bytes: a larger request, with its answer, is not taken. labels: that a device must have.
    """

    owner_key: bytes
    share_millionths: int
    most_per_day: int = 24
    most_bytes: int = 64 << 10
    labels: Mapping[str, str] = field(default_factory=dict)

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether they are wanted of a device with these labels."""
        return has_labels(labels, self.labels)

    @property
    def spacing_seconds(self) -> float:
        """Between two samples of a device, at the least."""
        return DAY_SECONDS / self.most_per_day

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {
            "owner_key": key_text(self.owner_key),
            "share_millionths": self.share_millionths,
            "most_per_day": self.most_per_day,
            "most_bytes": self.most_bytes,
            "labels": dict(sorted(self.labels.items())),
        }


def from_value(value: object, where: str) -> SamplesWanted:
    """The inverse. Raises FormatError."""
    found = numbers.fields(value, where, ("owner_key", "share_millionths", "most_per_day", "most_bytes", "labels"))
    return SamplesWanted(
        key_from(found["owner_key"], f"{where}.owner_key"),
        integer(found["share_millionths"], f"{where}.share_millionths", 1, MILLION),
        integer(found["most_per_day"], f"{where}.most_per_day", 1, MOST_PER_DAY),
        integer(found["most_bytes"], f"{where}.most_bytes", 1, MOST_SAMPLE_BYTES),
        numbers.labels(found["labels"], f"{where}.labels"),
    )


def key_text(owner_key: bytes) -> str:
    """How a public key is written: `x25519:BASE64`."""
    return f"{KIND}:{base64.b64encode(owner_key).decode()}"


def key_from(value: object, where: str) -> bytes:
    """The inverse. Raises FormatError."""
    kind, _, text = value.partition(":") if isinstance(value, str) else ("", "", "")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if kind != KIND or len(found) != KEY_BYTES or key_text(found) != value:
        raise FormatError(where, f"found {numbers.shown(value)}, expected {EXPECTED_KEY}")
    return found


def fingerprint(owner_key: bytes) -> bytes:
    """What a batch says of the key that it is for."""
    return hashlib.sha256(owner_key).digest()[:_FINGERPRINT_BYTES]
