"""Messages to systemd, if it has started this process: ready, and awake."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_NEVER_SECONDS: Final = 3600.0


class Watcher:
    """Who watches over this process, by what its environment says. wait_seconds: how long it may be silent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watches = bool(self._address) and is_ours and microseconds.isdecimal() and int(microseconds) > 0
        self.wait_seconds = int(microseconds) / 3e6 if self._watches else _NEVER_SECONDS

    def ready(self) -> None:
        """It serves, as far as there is something to serve."""
        self._say("READY=1")

    def awake(self) -> None:
        """It is not stuck."""
        if self._watches:
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\0" + self._address[1:] if self._address.startswith("@") else self._address)
            out.send(text.encode())
