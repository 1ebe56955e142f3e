"""Where everything of a local supervisor lies. All of it is in one folder, made for this user alone.

supervisord.conf, supervisord.log, supervisord.pid
run/                    Unix sockets: supervisord's own, and those of the replicas; a link to a shorter path where need be
conf.d/NAME.conf        what supervisord knows of a replica; NAME is PROGRAM-INDEX
launch/NAME.json        what it becomes when it is started (see launch.py); may hold secrets
programs/PROGRAM.json   what the resource asked for, and the ports that each replica got; may hold secrets
replicas/PROGRAM/INDEX  a replica's own folder, `${directory}`
logs/NAME.log           its output, rotated
owner.json              which stack made it, and in which making
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import PlatformError

# A Unix socket's path has 108 bytes at most, one of them the closing zero.
_LONGEST_SOCKET_PATH_BYTES = 108 - 1
# supervisord binds to a temporary name first: the socket's own with a dot and its process id (up to 7 digits) behind it.
_LONGEST_SOCKET_NAME_BYTES = len("supervisor.sock") + 8
_LONGEST_RUNTIME_PATH_BYTES = _LONGEST_SOCKET_PATH_BYTES - 1 - _LONGEST_SOCKET_NAME_BYTES
# Where else sockets may lie: the first that is short enough.
_SHORT_FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108 - a folder of a random name is made there, for this user alone

_FOLDERS = ("conf.d", "launch", "programs", "replicas", "logs")
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
    def runtime(self) -> Path | None:
        """The folder of the Unix sockets: `run`, or what it links to. None where that is not known before `make`."""
        link = self.directory / "run"
        if link.is_symlink():
            return link.readlink()
        return link if _is_short_enough(link) else None

    @property
    def socket(self) -> Path:
        """supervisord's own."""
        return (self.runtime or self.directory / "run") / "supervisor.sock"

    def replica_socket(self, replica: str, name: str) -> Path | None:
        """The path of a replica's socket of that name. None where it is not known before `make`."""
        if self.runtime is None:
            return None
        file = f"{replica}.{name}"
        if len(file) > _LONGEST_SOCKET_NAME_BYTES:
            file = hashlib.sha256(file.encode()).hexdigest()[:16]
        return self.runtime / file

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
            self.directory.chmod(0o700)  # it may have been there before
            for name in _FOLDERS:
                (self.directory / name).mkdir(mode=0o700, exist_ok=True)
            self._make_runtime()
        except OSError as error:
            raise PlatformError(f"cannot make {error.filename or self.directory}: {error.strerror}") from error

    @property
    def is_only_begun(self) -> bool:
        """Whether there is nothing in it but what `make` makes: whoever made that was ended before the supervisor was. Raises OSError."""
        for path in self.directory.iterdir():
            started = path.name.startswith(".") and path.suffix == TEMPORARY_SUFFIX and path.is_file()
            empty = path.name in (*_FOLDERS, "run") and path.is_dir() and not any(path.iterdir())
            if not (started or empty or (path.name == "run" and path.is_symlink())):
                return False
        return True

    def _make_runtime(self) -> None:
        link = self.directory / "run"
        if _is_short_enough(link):
            if link.is_symlink():
                link.unlink()
            link.mkdir(mode=0o700, exist_ok=True)
        elif self.runtime is None or not _is_private(self.runtime):
            # A name that nobody could know before: what is there cannot be another user's.
            fresh = tempfile.mkdtemp(prefix="isthmus-", dir=_short_folder())
            link.unlink(missing_ok=True)
            link.symlink_to(fresh)

    def remove(self) -> None:
        """Removes everything that is in it. Raises OSError."""
        if self.runtime is not None and self.runtime.parent != self.directory:
            shutil.rmtree(self.runtime, ignore_errors=True)
        # What says that it is ours goes last: where not all can be removed, the next destroy goes on.
        for path in self.directory.iterdir():
            if path != self.config:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.config.unlink(missing_ok=True)
        self.directory.rmdir()

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


def _is_short_enough(runtime: Path) -> bool:
    return len(os.fsencode(runtime)) <= _LONGEST_RUNTIME_PATH_BYTES


def _is_private(folder: Path) -> bool:
    """Whether it is a folder of this user's that nobody else may look into."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _short_folder() -> str:
    for folder in (tempfile.gettempdir(), *_SHORT_FOLDERS):
        is_fit = _is_short_enough(Path(folder) / "isthmus-12345678") and not unsupported_characters(folder)
        if is_fit and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise PlatformError(f"there is no folder for Unix sockets: {_SHORT_FOLDERS[0]} cannot be written to")


# In a folder that a model server is given, beside those of the versions: what has to be there, and what the model answers. Model
# servers look at folders named by a number, and at nothing else.
MANIFEST_FILE = ".release.json"
GOLDEN_FILE = ".golden.json"


TEMPORARY_SUFFIX = ".tmp"
"""Of what is about to become a file, whose name begins with a dot."""


def write_private(path: Path, content: str) -> None:
    """Writes a file that only this user may read, at once: no reader ever sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=TEMPORARY_SUFFIX, dir=path.parent)  # mkstemp makes it 0600
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
