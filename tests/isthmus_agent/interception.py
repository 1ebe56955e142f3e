"""Every system call by which a program changes a folder, in the one order of all its processes and threads; and a hand on each of them.

The kernel asks before it does such a call (seccomp's user notification), so that what is decided there happens exactly between two calls:
a kill of the whole program, or a power cut. Nothing is traced, and every other call is at full speed.
"""

import array
import ctypes
import os
import platform
import re
import select
import signal
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Final

# By name: number on x86-64, and which argument is a descriptor or a path. `open` is asked about only where it may write.
_CALLS: Final = {
    "write": (1, "descriptor", 0),
    "open": (2, "path", 0),
    "pwrite": (18, "descriptor", 0),
    "writev": (20, "descriptor", 0),
    "fsync": (74, "descriptor", 0),
    "fdatasync": (75, "descriptor", 0),
    "truncate": (76, "path", 0),
    "ftruncate": (77, "descriptor", 0),
    "rename": (82, "path", 1),
    "mkdir": (83, "path", 0),
    "rmdir": (84, "path", 0),
    "link": (86, "path", 1),
    "unlink": (87, "path", 0),
    "symlink": (88, "path", 1),
    "chmod": (90, "path", 0),
    "openat": (257, "path", 1),
    "mkdirat": (258, "path", 1),
    "unlinkat": (263, "path", 1),
    "renameat": (264, "path", 3),
    "linkat": (265, "path", 3),
    "symlinkat": (266, "path", 2),
    "renameat2": (316, "path", 3),
}
_NAMES: Final = {number: name for name, (number, _, _) in _CALLS.items()}
_FLAGS_AT: Final = {"open": 1, "openat": 2}
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_AUDIT_ARCH_X86_64: Final = 0xC000003E
_SECCOMP: Final = 317
_NEW_LISTENER: Final = 8
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_CONTINUE: Final = 1
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")
_DIGITS = re.compile(r"[0-9a-f]{64}|(?<=\.)[0-9a-f]{16}|(?<=/)[0-9]+")

Label = str
Decide = Callable[["Call"], bool]


def why_not() -> str:
    """Why calls cannot be intercepted here; empty where they can."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return "the table of system calls is of Linux on x86-64"
    return ""


@dataclass(frozen=True)
class Call:
    """One call. label: its name and the file below the folder, without digests and numbers. number: how often this label came, from 1."""

    label: Label
    number: int


class Interception:
    """Programs that are started through `program` have their changes of a folder seen.

    decide: asked before each call, and whether it is done: where it is not, the whole program is killed. It may do things itself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.calls: list[Call] = []
        self._counts: Counter[Label] = Counter()
        self.decide: Decide = lambda call: True
        self.is_cut = threading.Event()
        self._group = 0
        self._address = f"\0isthmus-interception-{os.getpid()}-{id(self)}"
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(self._address)
        self._server.listen(4)
        self._thread = threading.Thread(target=self._serve, name="interception", daemon=True)
        self._thread.start()

    def program(self, arguments: Sequence[str]) -> list[str]:
        """The same program, seen."""
        return [sys.executable, "-S", __file__, self._address[1:], *arguments]

    def watch(self, decide: Decide = lambda call: True) -> None:
        """Counts anew from here on."""
        self.calls, self._counts, self.decide = [], Counter(), decide
        self.is_cut.clear()

    def kill(self) -> None:
        """Ends the program just now."""
        self.is_cut.set()
        if self._group:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)

    def close(self) -> None:
        """Sees nothing any more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                data, rights, _, _ = connection.recvmsg(16, socket.CMSG_SPACE(4))
                (listener,) = array.array("i", rights[0][2])
            self._group = int(data)
            try:
                self._see(listener)
            finally:
                self._group = 0
                os.close(listener)

    def _see(self, listener: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while True:
            ((_, events),) = poll.poll()
            if not events & select.POLLIN:
                if events & select.POLLHUP:
                    return  # nobody is left
                continue  # the kernel was interrupted by a signal while it looked
            notification = bytearray(_NOTIFICATION.size)
            try:
                ioctl(listener, _RECEIVE, notification)
            except OSError:  # it was ended in between
                continue
            identity, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(notification)
            if not self._is_let(_NAMES[number], thread, arguments):
                self.kill()
                continue
            with suppress(OSError):
                ioctl(listener, _ANSWER, struct.pack("=QqiI", identity, 0, 0, _CONTINUE))

    def _is_let(self, name: str, thread: int, arguments: Sequence[int]) -> bool:
        if self.is_cut.is_set():
            return False  # another thread, which is about to end
        path = self._path(name, thread, arguments)
        if not path.startswith(self._folder):
            return True
        label = f"{name} {_DIGITS.sub('*', path.removeprefix(self._folder)).removeprefix('/') or '.'}"
        self._counts[label] += 1
        call = Call(label, self._counts[label])
        self.calls.append(call)
        return self.decide(call)

    def _path(self, name: str, thread: int, arguments: Sequence[int]) -> str:
        _, kind, index = _CALLS[name]
        try:
            if kind == "descriptor":
                return os.readlink(f"/proc/{thread}/fd/{arguments[index]}")
            with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
                memory.seek(arguments[index])
                path = memory.read(4096).partition(b"\0")[0].decode(errors="replace")
            if path.startswith("/"):
                return path
            at = ctypes.c_int(arguments[index - 1] & 0xFFFFFFFF).value if name.endswith("at") or name == "renameat2" else -100
            return os.path.join(os.readlink(f"/proc/{thread}/cwd" if at == -100 else f"/proc/{thread}/fd/{at}"), path)
        except OSError:
            return ""


def _filter() -> bytes:
    """Asks about the calls above, and lets all others pass."""
    load, equal, has, give = 0x20, 0x15, 0x45, 0x06
    allow, ask = 0x7FFF0000, 0x7FC00000
    lines = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH_X86_64), (give, 0, 0, allow), (load, 0, 0, 0)]
    for name, (number, _, _) in _CALLS.items():
        if name in _FLAGS_AT:
            flags = (load, 0, 0, 16 + 8 * _FLAGS_AT[name])
            lines += [(equal, 0, 4, number), flags, (has, 0, 1, _WRITES), (give, 0, 0, ask), (give, 0, 0, allow)]
        else:
            lines += [(equal, 0, 1, number), (give, 0, 0, ask)]
    lines.append((give, 0, 0, allow))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _become(address: str, arguments: Sequence[str]) -> None:
    """This process is the program from now on, in a group of its own."""
    os.setsid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(f"\0{address}")
        libc = ctypes.CDLL(None, use_errno=True)
        lines = ctypes.create_string_buffer(filter_ := _filter(), len(filter_))
        program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(filter_) // 8, ctypes.addressof(lines)))
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges: asked for by the kernel
        listener = libc.syscall(_SECCOMP, 1, _NEW_LISTENER, program)
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp takes no filter")
        connection.sendmsg([str(os.getpid()).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    os.execv(arguments[0], arguments)  # noqa: S606 - that is what is wanted


if __name__ == "__main__":
    _become(sys.argv[1], sys.argv[2:])
