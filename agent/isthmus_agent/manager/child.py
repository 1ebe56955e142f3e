"""One server's process, as the manager holds it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Fallback, Limits, Page, Peers, Start, View
from isthmus_agent.formats.report import Reason

_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What the process needs of the environment. Credentials are not among it."""
_START_SECONDS = 120.0
"""For the interpreter to be there; the self-test has its own time."""
_END_SECONDS = 5.0


RELAY = ""
"""In place of a content's digest."""


class Stage(Enum):
    """What a process is at."""

    STARTS = "starts"
    SERVES = "serves"
    DRAINS = "drains"


WORKING_FOLDER: Final = "/"
"""Of the device program's own processes: an interpreter that is told a module looks for it in its working folder first, and where somebody
starts a command others may write."""


def environment() -> dict[str, str]:
    """What a process of the device program's own needs."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


class Child:
    """A server for a content; for none, where the cloud answers alone (digest: empty). It ends with the thread that makes it. against: the
    content of the version before, whose predictions it compares its own with.

    Raises OSError where there is no process to be had.
    """

    def __init__(
        self,
        digest: str,
        content: Path | None,
        listeners: Sequence[socket.socket],
        *,
        limits: Limits,
        about: Mapping[str, str],
        fallback: Fallback | None,
        peers: Peers | None = None,
        against: Path | None = None,
        view: View | None = None,
    ) -> None:
        self.digest, self.stage, self.limits = digest, Stage.STARTS, limits
        self.failure: tuple[Reason, str] | None = None
        self.connections: dict[int, socket.socket] = {}
        self._is_loaded = self._is_overdue = False
        self.against = against
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = Page.make(limits.slots)
        try:
            given = [theirs.fileno(), page, *(it.fileno() for it in listeners)]
            start = Start(
                os.getpid(),
                given[0],
                page,
                given[2:],
                str(content or ""),
                digest,
                limits,
                about,
                fallback,
                str(against or ""),
                peers,
                view,
            )
            self.page = Page(page, limits.slots)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "isthmus_agent.server", start.to_text()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the interpreter writes there, at times
                pass_fds=given,
                env=environment(),
                cwd=WORKING_FOLDER,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(page)
        self.channel = Channel(ours)
        self.deadline: float | None = time.monotonic() + _START_SECONDS

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def fell_over_before(self) -> bool:
        """Whether it ended while the version before was asked, which says nothing of its content."""
        return self.against is not None and not self._is_loaded and self.failure is None

    @property
    def is_relay(self) -> bool:
        """Whether it has no content."""
        return self.digest == RELAY

    def is_loaded(self) -> None:
        """The interpreter is there, and from now on it is the content that is tried."""
        self._is_loaded = True
        self.deadline = time.monotonic() + self.limits.self_test_seconds + _END_SECONDS

    def serve(self) -> None:
        """Has it accept."""
        self.stage, self.deadline = Stage.SERVES, None
        self.channel.send(channel.SERVE)

    def drain(self) -> None:
        """Has it finish, and end."""
        self.stage, self.deadline = Stage.DRAINS, time.monotonic() + self.limits.drain_seconds + _END_SECONDS
        if not self.channel.send(channel.DRAIN):
            self._process.kill()

    def end(self) -> None:
        """Ends it at once, as it takes too long. Its end is seen on the channel."""
        self._is_overdue, self.deadline = True, None
        self._process.kill()

    def reap(self) -> int:
        """The status of a process whose channel is at its end: negative for a signal."""
        self.channel.close()
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def why_not_ready(self, status: int) -> tuple[Reason, str]:
        """Why it ended before it was ready."""
        if self.failure is not None:
            return self.failure
        how = _how(status)
        if not self._is_loaded:
            return Reason.SERVER_FAULT, f"the server {how} before the content was looked at"
        if self._is_overdue or status == -signal.SIGALRM:
            return Reason.SELF_TEST_HUNG, f"the self-test did not end within {self.limits.self_test_seconds:g} s"
        if status == -signal.SIGKILL:  # by the kernel, for want of memory, or by somebody
            return Reason.OUT_OF_MEMORY, f"the self-test {how}"
        return (Reason.SELF_TEST_CRASHED if status < 0 else Reason.SERVER_FAULT), f"the self-test {how}"

    def why_ended(self, status: int) -> tuple[Reason, str]:
        """Why it ended while it served."""
        where = "on a request" if any(self.page[slot] == channel.RUNS for slot in self.connections) else "between requests"
        if status == -signal.SIGALRM:
            return Reason.HUNG, f"no answer to a request within {self.limits.request_seconds:g} s"
        return Reason.CRASHED, f"the server {_how(status)} {where}"

    def take(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> socket.socket | None:
        """Keeps account of connections. The one that somebody else is to go on with, if it is about that.

        Raises ValueError, LookupError, TypeError or OSError for what no server says.
        """
        slot, what = message["slot"], message["what"]
        if not 0 <= slot < self.limits.slots:
            raise ValueError(f"no slot {slot}")
        if what == channel.HELD:
            self.connections[slot] = socket.socket(fileno=descriptors[0])
            return None
        found = self.connections.pop(slot, None)
        if found is not None and what == channel.DROPPED:
            found.close()
        return found if what == channel.RELEASED else None


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
