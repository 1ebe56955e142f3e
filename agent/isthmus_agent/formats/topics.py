"""Where devices of a group write to each other on a broker (MQTT), and who may write where.

    isthmus/GROUP/presence/DEVICE      retained: the device's own word that it is there
    isthmus/GROUP/requests/TO/FROM     what FROM wants TO to do
    isthmus/GROUP/answers/TO/FROM      what FROM has done for TO

A topic's last part is who wrote it: a broker that keeps `may_write` makes that as true as the device's credentials are secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError

_ROOT: Final = "isthmus"


class Kind(Enum):
    """What a message is."""

    PRESENCE = "presence"
    REQUEST = "requests"
    ANSWER = "answers"


@dataclass(frozen=True)
class Topic:
    """kind, who wrote it, and for whom; None: for the whole group."""

    kind: Kind
    sender: str
    to: str | None = None

    def text(self, group: str) -> str:
        """As a broker knows it."""
        parts = (_ROOT, group, self.kind.value, self.sender) if self.to is None else (_ROOT, group, self.kind.value, self.to, self.sender)
        return "/".join(parts)


def read(text: str, group: str) -> Topic:
    """The topic that a text is. Raises FormatError where it is none of the group's."""
    parts = text.split("/")
    if len(parts) in (4, 5) and parts[:2] == [_ROOT, group] and (parts[2] == Kind.PRESENCE.value) == (len(parts) == 4):
        for kind in Kind:
            if kind.value == parts[2]:
                names = [numbers.device_name(part, "topic") for part in parts[3:]]
                return Topic(kind, names[-1], names[0] if len(names) == 2 else None)
    raise FormatError("topic", f"found {numbers.shown(text)}, expected one of the group {group}")


def may_read(group: str, device: str) -> Sequence[str]:
    """The filters of what a device reads: who is there, and what is for itself."""
    return f"{_ROOT}/{group}/presence/+", f"{_ROOT}/{group}/requests/{device}/+", f"{_ROOT}/{group}/answers/{device}/+"


def may_write(group: str, device: str) -> Sequence[str]:
    """The filters of what a device writes: under its own name alone."""
    return f"{_ROOT}/{group}/presence/{device}", f"{_ROOT}/{group}/requests/+/{device}", f"{_ROOT}/{group}/answers/+/{device}"
