"""What servers say to the device's group and hear from it, between the bus and their channels."""

import binascii
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from isthmus_agent import channel
from isthmus_agent.formats import said
from isthmus_agent.formats.evidence import MOST_CLASSES
from isthmus_agent.manager.child import Child

_MOST_BYTES: Final = said.longest(MOST_CLASSES)


class Evidence:
    """publish: says something to the group, in the thread that serves; whether it could be sent. `heard` and `present` may be called from
    any thread, once it is attached. Nothing is kept but who is there."""

    def __init__(self, publish: Callable[[bytes], bool] = lambda payload: False) -> None:
        self._publish = publish
        self._wish: Callable[[Callable[[], None]], None] = lambda wish: None
        self._children: Callable[[], Iterable[Child]] = list
        self._present: list[str] | None = None

    def attach(self, wish: Callable[[Callable[[], None]], None], children: Callable[[], Iterable[Child]]) -> None:
        """wish: has something done in the thread that serves. children: all servers, since one that drains may still wait for others."""
        self._wish, self._children = wish, children

    def begin(self, child: Child) -> None:
        """A server that takes over hears who is there."""
        if self._present is not None:
            child.channel.send(channel.PRESENT, devices=self._present)

    def said(self, message: Mapping[str, Any]) -> None:
        """What a server says. Raises ValueError, LookupError or TypeError where it cannot be read."""
        self._publish(binascii.a2b_base64(message["payload"]))

    def heard(self, device: str, payload: bytes) -> None:
        """What a device of the group says of an event."""
        if len(payload) > _MOST_BYTES:
            return
        text = binascii.b2a_base64(payload, newline=False).decode("ascii")
        self._wish(lambda: self._send(channel.EVIDENCE, device=device, payload=text))

    def present(self, devices: Collection[str]) -> None:
        """Who of the group is there now."""

        def tell() -> None:
            self._present = sorted(devices)
            self._send(channel.PRESENT, devices=self._present)

        self._wish(tell)

    def _send(self, what: str, **more: Any) -> None:
        for child in self._children():
            child.channel.send(what, **more)
