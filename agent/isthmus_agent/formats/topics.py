"""Where devices of a group write to each other on a broker (MQTT), and who may write where.

    isthmus/GROUP/presence/DEVICE      retained: the device's own word that it is there
    isthmus/GROUP/requests/TO/FROM     what FROM wants TO to do
    isthmus/GROUP/answers/TO/FROM      what FROM has done for TO
    isthmus/GROUP/told/SUBJECT/FROM    what FROM says to all who listen to a subject

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
    TOLD = "told"


@dataclass(frozen=True)
class Topic:
    """kind, who wrote it, and for whom; None: for the whole group. Of what is told, it is for all, and `to` is the subject."""

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
                sender = numbers.device_name(parts[-1], "topic")
                if kind is Kind.PRESENCE:
                    return Topic(kind, sender)
                to = numbers.name if kind is Kind.TOLD else numbers.device_name
                return Topic(kind, sender, to(parts[3], "topic"))
    raise FormatError("topic", f"found {numbers.shown(text)}, expected one of the group {group}")


def may_read(group: str, device: str) -> Sequence[str]:
    """The filters of what a device may read: who is there, what is for itself, and what is told to all."""
    return (*reads(group, device), f"{_ROOT}/{group}/{Kind.TOLD.value}/+/+")


def reads(group: str, device: str, subjects: Sequence[str] = ()) -> Sequence[str]:
    """The filters of what a device does read. subjects: that it listens to."""
    own = [f"{_ROOT}/{group}/{kind.value}/{device}/+" for kind in (Kind.REQUEST, Kind.ANSWER)]
    return (f"{_ROOT}/{group}/{Kind.PRESENCE.value}/+", *own, *(f"{_ROOT}/{group}/{Kind.TOLD.value}/{it}/+" for it in subjects))


def may_write(group: str, device: str) -> Sequence[str]:
    """The filters of what a device writes: under its own name alone."""
    to_others = [f"{_ROOT}/{group}/{kind.value}/+/{device}" for kind in (Kind.REQUEST, Kind.ANSWER, Kind.TOLD)]
    return (f"{_ROOT}/{group}/{Kind.PRESENCE.value}/{device}", *to_others)
