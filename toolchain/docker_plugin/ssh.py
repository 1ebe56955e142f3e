"""Docker's API through `ssh HOST docker system dial-stdio`, for the official Python SDK.

The SDK's own way needs paramiko and takes no options; this one uses the machine's `ssh` with its configuration, as the
docker command does.
"""

import os
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import IO, Final
from urllib.parse import urlsplit

import urllib3
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

_CONNECT_SECONDS = 30
_REMOTE: Final = ("docker", "system", "dial-stdio")
_LINES_KEPT = 20
_COMPLAINT_SECONDS = 1.0


def command(url: str, options: Sequence[str]) -> list[str]:
    """The command line for a host `ssh://[user@]host[:port]`. The user's own options count before ours. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.password or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url.rsplit('@', maxsplit=1)[-1]} is not of the form ssh://user@host:port")
    user = ["-l", parts.username] if parts.username else []
    port = ["-p", str(parts.port)] if parts.port else []
    ours = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-T"]
    return ["ssh", *options, *ours, *user, *port, "--", parts.hostname, *_REMOTE]


class _Connection(UnixHTTPConnection):  # type: ignore[misc]
    """One `ssh` process, whose standard input and output are this connection's socket."""

    def __init__(self, argv: Sequence[str], said: deque[str], timeout: float) -> None:
        super().__init__("http://localhost", "", timeout)
        self._argv = argv
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C is for the engine and the plugin, which still have to report what exists.
            end = theirs.fileno()
            self._process = subprocess.Popen(self._argv, stdin=end, stdout=end, stderr=subprocess.PIPE, start_new_session=True)
        ours.settimeout(self.timeout)
        self.sock = ours
        assert self._process.stderr is not None  # noqa: S101 it is piped
        threading.Thread(target=self._listen, args=(self._process, self._process.stderr), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                if text := line.decode(errors="replace").strip():
                    self._said.append(text)
        process.wait()

    def close(self) -> None:
        super().close()
        if self._process and self._process.poll() is None:
            self._process.terminate()


class SshAdapter(UnixHTTPAdapter):  # type: ignore[misc]
    """For `Session.mount`. said: what `ssh` last complained about."""

    def __init__(self, url: str, options: Sequence[str], timeout: float) -> None:
        self._argv = command(url, options)
        self.said: deque[str] = deque(maxlen=_LINES_KEPT)
        super().__init__("http+unix://ssh", timeout)

    def complaint(self) -> str:
        """The last of it; waits a moment, because it comes beside the broken connection and not with it."""
        end = time.monotonic() + _COMPLAINT_SECONDS
        while not self.said and time.monotonic() < end:
            time.sleep(0.02)
        return self.said[-1] if self.said else ""

    def get_connection(self, url: str, proxies: object = None) -> urllib3.HTTPConnectionPool:
        # One pool for all paths: a connection is a process, and each is used again.
        with self.pools.lock:
            pool: _Pool | None = self.pools.get("")
            if pool is None:
                pool = self.pools[""] = _Pool(self._argv, self.said, self.timeout)
        return pool


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    def __init__(self, argv: Sequence[str], said: deque[str], timeout: float) -> None:
        super().__init__("http://localhost", "", timeout)
        self._argv = argv
        self._said = said

    def _new_conn(self) -> _Connection:
        return _Connection(self._argv, self._said, self.timeout)


def reach_command(url: str, options: Sequence[str]) -> str:
    """What a user types to see whether the host can be reached."""
    return " ".join([*command(url, options)[: -len(_REMOTE)], "docker", "version"]).replace(os.path.expanduser("~"), "~")
