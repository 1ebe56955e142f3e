"""What clients may make of the server's memory, descriptors and time; every bound is here."""

import logging
import resource
import threading
import time

MIB = 1 << 20

# A request's body as it is sent, and a gRPC message.
MAX_BODY_BYTES = 256 * MIB
# A body once it is decompressed, as in TensorFlow Serving.
MAX_DECOMPRESSED_BYTES = 100 * MIB
# All bodies together that are being received or answered.
MAX_IN_FLIGHT_BYTES = 512 * MIB
# What one prediction may answer.
MAX_OUTPUT_BYTES = 512 * MIB
# A request's line and headers.
MAX_HEAD_BYTES = 64 * 1024
# A tensor may have that many elements even where its message holds fewer values (TensorFlow repeats the last one).
MAX_REPEATED_ELEMENTS = 1 << 20
MAX_DIMENSIONS = 254  # TensorFlow's own

# On the event loop: what is over in about a millisecond whatever the bytes are.
MAX_BODY_BYTES_ON_LOOP = 8 * 1024
MAX_ELEMENTS_ON_LOOP = 4096
# In a thread: Python holds its lock that long at most. What is larger is for the helper process.
MAX_BODY_BYTES_IN_THREAD = 256 * 1024
MAX_ELEMENTS_IN_THREAD = 64 * 1024
# The helper process; it is ended after a large job, so that its memory is the system's again.
MAX_HELPER_BYTES = 3 << 30
LARGE_JOB_BYTES = 32 * MIB

MAX_CONNECTIONS = 8192
MAX_GRPC_CONNECTIONS = 1024
# gRPC calls whose message is being received; each may need MAX_BODY_BYTES.
MAX_GRPC_RECEIVING = 16
MAX_GRPC_CALLS = 1024
# A client that has begun a request and sends nothing more is waited for that long.
STALLED_SECONDS = 60.0
# How long a connection is kept after a refusal in the middle of a request, so that the client can read why.
LINGER_SECONDS = 1.0

_SPARE_DESCRIPTORS = 256
_LINE_SECONDS = 10.0


def raise_descriptor_limit() -> int:
    """Raises the number of files and sockets that this process may have open to what the system allows; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connection_limits(descriptors: int) -> tuple[int, int]:
    """How many connections REST and gRPC may have, so that both, and the models' files, find descriptors."""
    free = max(descriptors - _SPARE_DESCRIPTORS, 16)
    return min(MAX_CONNECTIONS, free * 3 // 4), min(MAX_GRPC_CONNECTIONS, free // 4)


class Budget:
    """Bytes that may be held at once. Safe to use from several threads."""

    def __init__(self, total_bytes: int) -> None:
        self._left = total_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether size bytes more may be held; they must be given back then."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size


class CountedLine:
    """One line of the log for many things of one kind: the first at once, then their number every ten seconds.

    Args:
        text: with one `%d` for how many there were since the last line.
    """

    def __init__(self, log: logging.Logger, text: str) -> None:
        self._log, self._text = log, text
        self._count, self._next = 0, 0.0

    def add(self) -> None:
        """One more."""
        self._count += 1
        self.flush()

    def flush(self) -> None:
        """Write the line, if it is time to."""
        now = time.monotonic()
        if self._count and now >= self._next:
            self._log.warning(self._text, self._count)
            self._count, self._next = 0, now + _LINE_SECONDS
