"""What the manager and a server's process say to each other, and what both hold.

The manager starts the process with a `Start` as its one argument. Two ends of a socket pair carry small JSON objects, with descriptors
where one is handed over:

    manager                          server
                                     loaded                the interpreter is there, and what the version before would answer;
                                                           what follows is the content's doing
                                     ready | unfit         the self-test's end, in the process that will serve
    serve                                                  accept from the listening sockets
    adopt + a connection                                   go on with a connection of another server
                                     held + a connection   it was accepted, and nothing of it read
                                     dropped               it is over
    drain                                                  accept no more, finish what has begun, end
                                     released              it rests between two requests: another may go on with it
    measure                          measured              with what was counted of the network and load since the last time
    sample                                                 one request may be handed over, by chance; see `server.sampling`
                                     sampled + memory      a request, with its answer
    evidence                         evidence              what a device of the group says of an event; what this one does
    present                                                who of the group is there

A connection's descriptor is held on both sides, and a page of shared memory says what each is at (`Page`). So the connections outlive a
server: those that rest are handed on, and the manager answers those whose request died with it.
"""

import json
import mmap
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

LOADED, READY, UNFIT, HELD, DROPPED, RELEASED, MEASURED = "loaded", "ready", "unfit", "held", "dropped", "released", "measured"
SERVE, ADOPT, DRAIN, MEASURE = "serve", "adopt", "drain", "measure"
SAMPLE, SAMPLED = "sample", "sampled"
EVIDENCE, PRESENT = "evidence", "present"
MOST_MESSAGE_BYTES: Final = 16 << 10
MOST_TEXT_CHARACTERS: Final = 1000

RESTS, READS, RUNS, WRITES, ASKS = range(5)
"""What a connection is at: between two requests; a request is on its way in; it is being answered; its answer is on its way out; the cloud
is asked for one."""

GATE: Final = "group"
"""The socket in the state folder by which programs on the device ask its group."""
_PR_SET_PDEATHSIG: Final = 1
_OWN_DESCRIPTORS: Final = 32
"""That a process may need beside its connections: files, requests to the store, a new server, pipes."""


@dataclass(frozen=True)
class Limits:
    """What a server may use.

    memory_bytes: of its own data, not shared with other programs (RLIMIT_DATA); None: no limit. threads: of the interpreter, and so what
    it can take of the processor. niceness: added to the manager's. most_batch: examples that the interpreter takes at once; more of them
    run in chunks. request_seconds: for one answer; the process is ended when they are over. self_test_seconds: for loading and the
    self-test. receive_seconds: for a request to come in whole, and for its answer to be taken. idle_seconds: between two requests.
    drain_seconds: to finish what has begun.
    """

    memory_bytes: int | None = None
    threads: int = 1
    niceness: int = 0
    most_batch: int = 32
    most_body_bytes: int = 8 << 20
    most_connections: int = 64
    request_seconds: float = 10.0
    self_test_seconds: float = 120.0
    receive_seconds: float = 30.0
    idle_seconds: float = 75.0
    drain_seconds: float = 30.0

    def within(self, descriptors: int) -> "Limits":
        """With no more connections than so many descriptors of each process allow for; more clients wait in the kernel.

        In a swap the manager holds those of two servers.
        """
        return replace(self, most_connections=max(1, min(self.most_connections, (descriptors - _OWN_DESCRIPTORS) // 2)))

    @property
    def slots(self) -> int:
        """Connections that a server can know at a time: its own, and as many that it was handed."""
        return 2 * self.most_connections


@dataclass(frozen=True)
class Fallback:
    """Who is asked where the device's own answer is not good enough, or where it has none. Without one, what a device is asked stays on it.

    url: the cloud role's; the API's paths are below it; it does not end with `/`. min_confidence: an answer below it is asked there;
    0: only failures are; None: as the content says. timeout_seconds: after which the device's own answer stands. ca_file: certificates to
    trust instead of the system's. deadline_seconds: within which a request is answered that says none itself; None: there is no deadline.
    same_version: of the cloud role only the version is asked that the device serves; what has another one has no answer for it.
    follows_policy: whether the signed migration policy may have the cloud asked first; else only what is unsure goes there. sends_features:
    whether what the network's first layers make may be sent there, in the signed ways.
    """

    url: str
    min_confidence: float | None
    timeout_seconds: float = 0.5
    ca_file: str | None = None
    deadline_seconds: float | None = None
    same_version: bool = False
    follows_policy: bool = False
    sends_features: bool = False


@dataclass(frozen=True)
class View:
    """As whom a device answers together with its group: its name on the bus, and the view that it stands for."""

    device: str
    name: str


@dataclass(frozen=True)
class Peers:
    """Other devices of the group, of which a class may be a place of the signed migration policy. Without it, none is asked.

    folder: with the socket of that name, where the manager passes requests on. timeout_seconds: after which the device's own answer stands.
    deadline_seconds: within which a request is answered that says none itself; None: there is no deadline.
    """

    folder: str
    socket: str
    timeout_seconds: float = 0.5
    deadline_seconds: float | None = None


@dataclass(frozen=True)
class Start:
    """What a server's process is started with. parent: the manager's process. control, page, listeners: descriptors.

    content: the file with the bundle's plain form; empty where there is none, and the cloud answers alone. against: that of the version
    before, whose predictions are compared with this one's; empty: they are not. about: what `/healthz` says of
    the device. view: None: it answers alone.
    """

    parent: int
    control: int
    page: int
    listeners: Sequence[int]
    content: str
    digest: str
    limits: Limits
    about: Mapping[str, str] = field(default_factory=dict)
    fallback: Fallback | None = None
    against: str = ""
    peers: Peers | None = None
    view: View | None = None

    def to_text(self) -> str:
        """As an argument of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Start":
        """The inverse of `to_text`."""
        raw = json.loads(text)
        fallback = raw["fallback"] and Fallback(**raw["fallback"])
        peers, view = raw["peers"] and Peers(**raw["peers"]), raw["view"] and View(**raw["view"])
        return cls(**{**raw, "limits": Limits(**raw["limits"]), "fallback": fallback, "peers": peers, "view": view})


class Channel:
    """One end of the pair. It never waits."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def fileno(self) -> int:
        """For a selector."""
        return self._end.fileno()

    def send(self, what: str, *descriptors: int, **more: Any) -> bool:
        """Whether it was sent: the other end may be gone, or too slow."""
        message = json.dumps({"what": what, **more}).encode()
        try:
            socket.send_fds(self._end, [message], descriptors)
        except OSError:
            return False
        return True

    def received(self) -> Iterator[tuple[Mapping[str, Any], list[int]]]:
        """What has come. Raises EOFError, after that, where the other end is gone.

        Raises ValueError, LookupError or TypeError for what is no message.
        """
        while True:
            try:
                content, descriptors, _, _ = socket.recv_fds(self._end, MOST_MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                content, descriptors = b"", []
            if not content:
                raise EOFError
            try:
                message = json.loads(content)
                if (message["what"] in (HELD, ADOPT, SAMPLED)) != bool(descriptors):
                    raise ValueError("a descriptor too many, or none")
            except (ValueError, LookupError, TypeError):
                for descriptor in descriptors:
                    os.close(descriptor)
                raise
            yield message, descriptors

    def close(self) -> None:
        """Ends it."""
        self._end.close()


class Page:
    """What each connection is at, in memory that outlives the server. Index: a connection's slot."""

    def __init__(self, descriptor: int, slots: int) -> None:
        self._memory = mmap.mmap(descriptor, slots)

    @staticmethod
    def make(slots: int) -> int:
        """A descriptor of an empty one."""
        descriptor = os.memfd_create("isthmus-connections", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, slots)
        return descriptor

    def __getitem__(self, slot: int) -> int:
        return self._memory[slot]

    def __setitem__(self, slot: int, state: int) -> None:
        self._memory[slot] = state

    def close(self) -> None:
        """Ends this side's view."""
        self._memory.close()


def end_with(parent: int) -> None:
    """Has the kernel end this process with the thread that started it. parent: that thread's process, which may be gone already."""
    import ctypes  # takes memory that the manager has a better use for

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
