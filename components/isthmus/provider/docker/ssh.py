"""Docker's API through `ssh HOST docker system dial-stdio`, for the official SDK.

The SDK's own way needs paramiko and takes no options; this one uses the machine's `ssh` with its configuration and agent, as
the docker command and the official Pulumi provider do.
"""

import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Final
from urllib.parse import urlsplit

import urllib3
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

_CONNECT_SECONDS: Final = 15
_ENDING_SECONDS: Final = 5
_SAID_BYTES: Final = 4096
_REMOTE: Final = ("docker", "system", "dial-stdio")


def command(address: str, options: Sequence[str]) -> list[str]:
    """The command line for `ssh://[user@]host[:port]`. The user's own options count before ours. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "ssh" or not parts.hostname or parts.password or parts.path not in ("", "/") or parts.query:
        raise ValueError("not of the form ssh://user@host:port")
    user = ["-l", parts.username] if parts.username else []
    port = ["-p", str(parts.port)] if parts.port else []
    ours = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "-o", "ServerAliveInterval=15"]
    return ["ssh", *options, *ours, *user, *port, "--", parts.hostname, *_REMOTE]


def reach_command(address: str, options: Sequence[str]) -> str:
    """What a user types to see whether the host can be reached. Raises ValueError."""
    return " ".join([*command(address, options)[: -len(_REMOTE)], "docker", "version"]).replace(os.path.expanduser("~"), "~")


class SshAdapter(UnixHTTPAdapter):  # type: ignore[misc]
    """For `Session.mount`. Each connection is one `ssh` process; `close` ends them all."""

    def __init__(self, address: str, options: Sequence[str], timeout_seconds: float) -> None:
        self._argv = command(address, options)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the adapter
        self._said = ""
        self._processes: list[subprocess.Popen[bytes]] = []
        super().__init__("http+unix://ssh", timeout_seconds)

    def get_connection(self, url: str, proxies: object = None) -> "_Pool":
        with self.pools.lock:
            pool: _Pool | None = self.pools.get("")
            if pool is None:
                pool = self.pools[""] = _Pool(self, self.timeout)
        return pool

    def open(self) -> socket.socket:
        """A new connection to the remote engine."""
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C is for the engine, which then tells us.
            process = subprocess.Popen(
                self._argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._stderr, start_new_session=True
            )
        self._processes.append(process)
        return ours

    def said(self) -> str:
        """What `ssh` complained about last, also once it is closed; empty: nothing."""
        if not self._stderr.closed:
            self._stderr.seek(0)
            lines = self._stderr.read()[-_SAID_BYTES:].decode(errors="replace").split("\n")
            self._said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return self._said

    def close(self) -> None:
        super().close()
        for process in self._processes:
            process.terminate()
            try:
                process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self.said()
        self._stderr.close()


class _Connection(UnixHTTPConnection):  # type: ignore[misc]
    def __init__(self, adapter: SshAdapter, timeout: float) -> None:
        super().__init__("http://localhost", "", timeout)
        self._adapter = adapter

    def connect(self) -> None:
        self.sock = self._adapter.open()
        self.sock.settimeout(self.timeout)


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    def __init__(self, adapter: SshAdapter, timeout: float) -> None:
        super().__init__("http://localhost", "", timeout)
        self._adapter = adapter

    def _new_conn(self) -> urllib3.connection.HTTPConnection:
        connection: urllib3.connection.HTTPConnection = _Connection(self._adapter, self.timeout)
        return connection
