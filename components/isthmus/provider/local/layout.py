"""Where everything of a local supervisor lies. All of it is in one folder, made for this user alone.

supervisord.conf, supervisord.log, supervisord.pid, supervisor.sock
conf.d/NAME.conf        what supervisord knows of a replica; NAME is PROGRAM-INDEX
launch/NAME.json        what it becomes when it is started (see launch.py); may hold secrets
programs/PROGRAM.json   what the resource asked for, and the ports that each replica got; may hold secrets
replicas/PROGRAM/INDEX  a replica's own folder, `${directory}`
logs/NAME.log           its output, rotated
owner.json              which stack made it, and in which making
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import PlatformError

# A unix socket's path has 108 bytes at most, one of them the closing zero. supervisord binds to a temporary name first: the
# socket's own with a dot and its process id (up to 7 digits) behind it.
_LONGEST_SOCKET_PATH_BYTES = 108 - 1 - 8

# The first line of every supervisord.conf of ours: how a folder is known to be ours to remove.
MARK = "; Written by Isthmus. Changes by hand are lost."


@dataclass(frozen=True)
class Layout:
    """The paths of one supervisor. directory: absolute."""

    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "supervisord.conf"

    @property
    def log(self) -> Path:
        return self.directory / "supervisord.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / "supervisord.pid"

    @property
    def socket(self) -> Path:
        """In the folder; where that path is too long for a socket, in a folder of this user's among the temporary files."""
        socket = self.directory / "supervisor.sock"
        if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH_BYTES:
            return socket
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"isthmus-{os.getuid()}" / f"{name}.sock"

    def conf(self, replica: str) -> Path:
        return self.directory / "conf.d" / f"{replica}.conf"

    def launch(self, replica: str) -> Path:
        return self.directory / "launch" / f"{replica}.json"

    def program(self, program: str) -> Path:
        return self.directory / "programs" / f"{program}.json"

    def replica(self, program: str, index: int) -> Path:
        return self.directory / "replicas" / program / str(index)

    def output(self, replica: str) -> Path:
        return self.directory / "logs" / f"{replica}.log"

    def make(self) -> None:
        """Makes the folders, for this user alone. Raises PlatformError where that cannot be done."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("conf.d", "launch", "programs", "replicas", "logs"):
                (self.directory / name).mkdir(mode=0o700, exist_ok=True)
            if self.socket.parent != self.directory:
                self.socket.parent.mkdir(mode=0o700, exist_ok=True)
                if self.socket.parent.stat().st_uid != os.getuid():
                    raise PlatformError(f"{self.socket.parent} belongs to another user, and {self.directory} is too long for a socket")
        except OSError as error:
            raise PlatformError(f"cannot make {error.filename or self.directory}: {error.strerror}") from error

    @property
    def owner(self) -> Path:
        return self.directory / "owner.json"

    @property
    def is_ours(self) -> bool:
        """Whether a supervisor of ours was ever made here."""
        try:
            with self.config.open(encoding="utf-8") as file:
                return file.readline().rstrip("\n") == MARK
        except (OSError, UnicodeDecodeError):
            return False


def write_private(path: Path, content: str) -> None:
    """Writes a file that only this user may read, at once: no reader ever sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def unsupported_characters(directory: str) -> Sequence[str]:
    """What in a folder's path supervisord's configuration cannot spell: glob characters, line ends, its comment signs, and %,
    which it expands twice in some places and once in others.
    """
    return [sign for sign in ("%", "*", "?", "[", "\n", "\r", " ;", " #") if sign in directory]
