"""Where devices of a group write to each other on a broker (MQTT), and who may write where.

    isthmus/GROUP/presence/DEVICE      retained: the device's own word that it is there
    isthmus/GROUP/requests/TO/FROM     what FROM wants TO to do
    isthmus/GROUP/answers/TO/FROM      what FROM has done for TO
    isthmus/GROUP/evidence/DEVICE      what the device says of an event that all of them see

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
    EVIDENCE = "evidence"

    @property
    def is_for_all(self) -> bool:
        """Whether it is said to the whole group."""
        return self in (Kind.PRESENCE, Kind.EVIDENCE)


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
    if len(parts) in (4, 5) and parts[:2] == [_ROOT, group]:
        for kind in Kind:
            if kind.value == parts[2] and kind.is_for_all == (len(parts) == 4):
                names = [numbers.device_name(part, "topic") for part in parts[3:]]
                return Topic(kind, names[-1], names[0] if len(names) == 2 else None)
    raise FormatError("topic", f"found {numbers.shown(text)}, expected one of the group {group}")


def may_read(group: str, device: str) -> Sequence[str]:
    """The filters of what a device reads: who is there, what all say to all, and what is for itself."""
    return [f"{_ROOT}/{group}/{kind.value}/{'+' if kind.is_for_all else f'{device}/+'}" for kind in Kind]


def may_write(group: str, device: str) -> Sequence[str]:
    """The filters of what a device writes: under its own name alone."""
    return [f"{_ROOT}/{group}/{kind.value}/{device if kind.is_for_all else f'+/{device}'}" for kind in Kind]
