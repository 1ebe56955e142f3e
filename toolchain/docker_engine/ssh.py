"""An SSH server on loopback through which `docker system dial-stdio` reaches an engine, as it does on a remote host."""

import getpass
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from toolchain.docker_engine.hosts import Engine
from toolchain.docker_engine.programs import programs
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

START_SECONDS = 30.0
_ATTEMPTS = 5
# What the package's installation script would make on the machine, sshd gets in a mount namespace of its own.
_PRIVILEGE_SEPARATION_USER = "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
_OWN_MOUNTS = 'mount --bind "$1/passwd" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && shift && exec "$@"'


@dataclass(frozen=True)
class SshServer:
    """A running server. options: for `ssh`, and for pulumi-docker's `sshOpts`. A context manager that stops it."""

    url: str
    options: Sequence[str]
    process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    def stop(self) -> None:
        """Ends the server; connections that are open end with it."""
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(layout: Layout, folder: Path, engine: Engine) -> SshServer:
    """Starts a server with keys of its own, which knows one user, who can do one thing: reach this engine.

    Raises:
        PrepareError: no OpenSSH to be had, or it did not start.
    """
    found = programs(layout)
    if not shutil.which("ssh-keygen", path=found.environment["PATH"]):
        raise PrepareError("there is no ssh-keygen on this machine. Fix: install openssh-client")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for key in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "isthmus-tests", "-f", str(folder / key)]
        subprocess.run(command, env=dict(found.environment), check=True, timeout=START_SECONDS)
    forced = f"env DOCKER_HOST={engine.host} {shlex.quote(str(found.find('docker')))} system dial-stdio"
    public = (folder / "user_key.pub").read_text(encoding="ascii")
    (folder / "authorized_keys").write_text(f'restrict,command="{forced}" {public}', encoding="ascii")
    for attempt in range(1, _ATTEMPTS + 1):
        port = _free_port()
        process = _start(found.find("sshd"), folder, port, dict(found.environment))
        if _answers(process, port):
            return SshServer(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", _client_options(folder, port), process)
        if attempt == _ATTEMPTS:
            break  # the port may have been taken in between; five times it was not that
    log = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    raise PrepareError(f"sshd did not start: {' / '.join(log[-3:])}")


def _start(sshd: Path, folder: Path, port: int, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",  # the tests' folder lies below one that everybody may write to
        "UsePAM": "no",
        "AuthenticationMethods": "publickey",
        "PermitRootLogin": "forced-commands-only",
        "AllowUsers": getpass.getuser(),
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="ascii")
    (folder / "passwd").write_text(Path("/etc/passwd").read_text(encoding="utf-8") + _PRIVILEGE_SEPARATION_USER, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        daemon = [str(sshd), "-D", "-e", "-f", str(folder / "sshd_config")]
        command = ["unshare", "--mount", "--propagation", "slave", "--", "sh", "-c", _OWN_MOUNTS, "sh", str(folder), *daemon]
        return subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)


def _client_options(folder: Path, port: int) -> list[str]:
    kind, key = (folder / "host_key.pub").read_text(encoding="ascii").split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="ascii")
    return ["-F", "none", "-i", str(folder / "user_key"), "-o", f"UserKnownHostsFile={folder / 'known_hosts'}", "-o", "IdentitiesOnly=yes"]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
    process.wait()
    return False
