"""Downloads of a target, taken up where they ended: over tries, restarts and power cuts.

What is there of it lies in one file, the part. It grows, and is believed only when its length and hashes are those of the signed
metadata; where they are not, it is removed, and the next try begins anew.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.failures import DeviceFailure, TransportFailure, refused
from isthmus_agent.manager.transport import Answer, Patience, Transport

SYNC_BYTES = 4 << 20
_READ_BYTES = 256 << 10


class Signed(Protocol):
    """Length and hashes of a file, as they were signed: `refreshing.Target`, or python-tuf's TargetFile."""

    @property
    def path(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def hashes(self) -> Mapping[str, str]: ...


def url_of(target: Signed, targets_url: str, *, consistent: bool = True) -> str:
    """Where a target lies. consistent: in a repository with consistent snapshots, as ours are; its hash stands before its name."""
    folder, slash, name = target.path.rpartition("/")
    path = f"{folder}{slash}{next(iter(target.hashes.values()))}.{name}" if consistent else target.path
    return f"{targets_url.rstrip('/')}/{quote(path)}"


def download(target: Signed, url: str, part: Path, transport: Transport, patience: Patience | None = None) -> None:
    """The target's content, verified, in the file `part`, on the disk.

    Raises TransportFailure where it did not arrive, or not as it was signed (what is good of it stays for the next try), and
    DeviceFailure where it cannot be kept.
    """
    try:
        if part.is_dir() and not part.is_symlink():
            part.rmdir()
        with part.open("ab") as file:
            if os.fstat(file.fileno()).st_size > target.length:
                os.ftruncate(file.fileno(), 0)
            if (done := os.fstat(file.fileno()).st_size) < target.length:
                span = {"Range": f"bytes={done}-"} if done else {}
                with transport.get(url, span, patience=patience or Patience()) as answer:
                    try:
                        _append(answer, file.fileno(), done, target.length)
                    finally:
                        os.fsync(file.fileno())
            missing = target.length - os.fstat(file.fileno()).st_size
        if missing:
            raise TransportFailure(f"the answer ended early: {missing} bytes of {target.path} are missing", Reason.ODD_ANSWER)
        if not is_whole(target, part):
            part.unlink()
            raise TransportFailure(f"{target.path} arrived changed on the way", Reason.WRONG_BYTES)
    except OSError as error:
        raise DeviceFailure(f"cannot keep {target.path}: {error.strerror or error}") from error


def _append(answer: Answer, file: int, done: int, length: int) -> None:
    """What the answer has beyond `done` bytes, and no more than the target's length."""
    # A server may ignore the range: then what is there is passed over. Other headers (Content-Range, say) are not needed.
    passed_over = {200: done, 206: 0}.get(answer.status)
    if passed_over is None:
        if answer.status == 416:
            os.ftruncate(file, 0)
        raise refused(answer.status)
    unsynced = 0
    for chunk in answer.chunks:
        skipped = min(passed_over, len(chunk))
        passed_over -= skipped
        rest = memoryview(chunk)[skipped : skipped + length - done]
        while rest:
            written = os.write(file, rest)
            rest, done, unsynced = rest[written:], done + written, unsynced + written
        if unsynced >= SYNC_BYTES:
            os.fsync(file)
            unsynced = 0
        if done == length:
            return  # an endless answer ends here


def is_whole(target: Signed, file: Path) -> bool:
    """Whether a file is what was signed. Raises OSError."""
    try:
        found = {name: hashlib.new(name) for name in target.hashes}
    except ValueError:  # a hash that nobody here can compute
        return False
    length = 0
    with file.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            length += len(piece)
            for it in found.values():
                it.update(piece)
    return bool(found) and length == target.length and all(it.hexdigest() == target.hashes[name] for name, it in found.items())
