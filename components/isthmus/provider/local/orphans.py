"""Processes that a supervisor left behind.

Every process under a supervisor carries the supervisor's folder in its environment, and hands it to its children: so they
are found also after the supervisor was killed and they belong to nobody.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context

if TYPE_CHECKING:
    from psutil import Process

MARK: Final = "ISTHMUS_SUPERVISOR"
REPLICA_MARK: Final = "ISTHMUS_REPLICA"
_TERM_SECONDS: Final = 10
_KILL_SECONDS: Final = 5


def find(directory: Path, replica: str | None = None) -> "Iterator[Process]":
    """The processes of the supervisor in this folder, itself included; or of one of its replicas alone."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
        except (psutil.Error, OSError):  # it ended meanwhile, or is not ours to look into
            continue
        if environment.get(MARK) == str(directory) and replica in {None, environment.get(REPLICA_MARK)}:
            yield process


def end(directory: Path, context: Context, replica: str | None = None) -> None:
    """Ends them: asks first, then kills. Raises PlatformError where one does not go."""
    import psutil

    for send, seconds in ((psutil.Process.terminate, _TERM_SECONDS), (psutil.Process.kill, _KILL_SECONDS)):
        processes = list(find(directory, replica))
        if not processes:
            return
        for process in processes:
            try:
                send(process)
                process.resume()  # see Supervisord.stop
            except psutil.NoSuchProcess:
                continue
        context.wait_until(lambda: not any(find(directory, replica)), seconds, "ending processes that were left behind")
    left = [str(process.pid) for process in find(directory, replica)]
    if left:
        raise PlatformError(f"processes {', '.join(left)} of {directory} do not end")


def family(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def is_stopped(pid: int) -> bool:
    """Whether a signal, or a debugger, keeps that process from running."""
    import psutil

    try:
        return psutil.Process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    except psutil.NoSuchProcess:
        return False


def resume(pid: int) -> None:
    """Lets a process that is stopped, and all that it started, go on."""
    import psutil

    for one in family(pid):
        with contextlib.suppress(psutil.Error):
            psutil.Process(one).resume()


def is_alive(pid: int) -> bool:
    """Whether that process exists and is no zombie."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started_at(pid: int) -> float:
    """When that process was started, in seconds since the epoch; 0 where there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0
