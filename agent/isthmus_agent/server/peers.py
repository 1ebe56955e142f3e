"""Peers of the group, as a device's server asks them: as it asks the cloud role, by way of its own manager.

The manager passes a request on to whichever peer of the class has its lease, and gives the answer of the model under the status that the
peer's server gave. So what holds of the cloud's answers holds of a peer's: they are late, bounded, checked, and counted by a breaker. A
peer is asked for the version that this device serves, and for none else.
"""

import http.client
import math
import select
import socket
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from isthmus_agent.channel import Fallback, Limits, Peers
from isthmus_agent.disk import sockets
from isthmus_agent.formats.answers import DEADLINE_MS
from isthmus_agent.formats.policy import PEER, Policy
from isthmus_agent.server.answers import Heard
from isthmus_agent.server.cloud import Cloud


class Peer(Cloud):
    """The peers of one class. device_class: `*`: any peer."""

    def __init__(self, peers: Peers, device_class: str, limits: Limits, version: int) -> None:
        asked = Fallback(f"http://group/peers/{device_class}", 0.0, peers.timeout_seconds)
        super().__init__(
            asked,
            most_answer_bytes=limits.most_body_bytes,
            request_seconds=limits.request_seconds,
            version=version,
            name=f"peers of class {device_class}",
        )
        self._folder, self._socket = Path(peers.folder), peers.socket

    def _connection(self) -> http.client.HTTPConnection:
        return _Connection(self._folder, self._socket)

    def _headers(self, left_seconds: float, *, is_packed: bool = False) -> Mapping[str, str]:
        return {**super()._headers(left_seconds, is_packed=is_packed), DEADLINE_MS: str(max(1, math.ceil(1000 * left_seconds)))}


class _Connection(http.client.HTTPConnection):
    """To the manager's socket."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__("group")
        self._folder, self._name = folder, name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        with sockets.short(self._folder, self._name) as path:
            self.sock.connect(path)


class Together:
    """All that are asked, as one for the loop that waits for them."""

    def __init__(self, askers: Sequence[Heard]) -> None:
        self._askers, self._epoll = askers, select.epoll()
        for it in askers:
            self._epoll.register(it.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when something has come from any of them."""
        return self._epoll.fileno()

    def next_at(self) -> float | None:
        """When to look even if nothing has come."""
        return min((at for it in self._askers if (at := it.next_at()) is not None), default=None)

    def answered(self) -> Iterator[tuple[Hashable, bytes | None]]:
        """What has come, and what is late."""
        for it in self._askers:
            yield from it.answered()


def asked_by(policy: Policy, peers: Peers, limits: Limits, version: int) -> Mapping[str, Peer]:
    """Those that are places of a policy, by the places' names."""
    return {place: Peer(peers, place.removeprefix(PEER), limits, version) for place in policy.places if place.startswith(PEER)}
