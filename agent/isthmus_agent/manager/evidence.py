"""What servers say to the device's group and hear from it, between the bus and their channels. In the thread that serves."""

import binascii
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from isthmus_agent import channel
from isthmus_agent.formats import said
from isthmus_agent.formats.evidence import MOST_CLASSES
from isthmus_agent.manager.child import Child

_MOST_BYTES = said.longest(MOST_CLASSES)


class Evidence:
    """publish: says something to the group; whether it could be sent. Nothing is kept but who is there."""

    def __init__(self, publish: Callable[[bytes], bool]) -> None:
        self._publish = publish
        self._present: list[str] | None = None

    def begin(self, child: Child) -> None:
        """A server that takes over hears who is there."""
        if self._present is not None:
            child.channel.send(channel.PRESENT, devices=self._present)

    def said(self, message: Mapping[str, Any]) -> None:
        """What a server says. Raises ValueError, LookupError or TypeError where it cannot be read."""
        self._publish(binascii.a2b_base64(message["payload"]))

    def heard(self, device: str, payload: bytes, children: Iterable[Child]) -> None:
        """What a device says: to all servers, since the one that drains may wait for it."""
        if len(payload) <= _MOST_BYTES:
            text = binascii.b2a_base64(payload, newline=False).decode("ascii")
            for child in children:
                child.channel.send(channel.EVIDENCE, device=device, payload=text)

    def present(self, devices: Collection[str], children: Iterable[Child]) -> None:
        """Who is there now."""
        self._present = sorted(devices)
        for child in children:
            self.begin(child)
