"""Whether a replica that runs works as well: a process may be stopped, hang, serve something else, or share its port."""

import time
from collections.abc import Mapping
from typing import Any, Final

from isthmus.plugin.handler import Context
from isthmus.provider.local import orphans, ports, readiness
from isthmus.provider.local.replicas import Replica
from isthmus.provider.local.supervisord import RUNNING_STATES, Supervisord

# A busy machine may leave a sound process without an answer for this long.
_PATIENCE_SECONDS: Final = 15.0
# What is seen to be wrong, and does not pass by waiting for an answer.
_CERTAIN_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.2


def ailment(supervisord: Supervisord, replica: Replica, ready: Mapping[str, Any], context: Context, *, waits: bool = True) -> str:
    """What is wrong with a replica; empty: it works. One that was just started is given the time to become ready.

    waits: until it is; otherwise it counts as one that works.

    Raises UnreachableSupervisorError, StoppedWaitingError.
    """
    probe = readiness.probe(ready, replica.ports, replica.sockets)
    patience = min(_PATIENCE_SECONDS, readiness.timeout_seconds(ready))
    start = time.monotonic()
    while True:
        info = supervisord.info(replica.name)
        if info is None or info["statename"] not in RUNNING_STATES:
            return f"{replica.name}: its process does not run"
        found = _certain(replica, info["pid"])
        failure = None if found or probe is None else probe.failure()
        if not found and failure is None:
            return ""
        is_certain = bool(found) or (failure is not None and failure.is_final)
        waited = time.monotonic() - start
        # One that is just starting does not answer yet; one that is stopped never will.
        is_young = time.time() < info["start"] + readiness.timeout_seconds(ready)
        if is_young and not is_certain and not waits:
            return ""
        if waited > _CERTAIN_SECONDS if is_certain else waited > patience and not is_young:
            return f"{replica.name}: {found or failure}"
        context.pause(_POLL_SECONDS)


def _certain(replica: Replica, pid: int) -> str:
    """What is wrong whatever it answers."""
    pids = orphans.family(pid)
    if stopped := [one for one in pids if orphans.is_stopped(one)]:
        return f"process {stopped[0]} is stopped"
    return shared_port(replica, pids)


def shared_port(replica: Replica, pids: list[int]) -> str:
    """Who else listens on a port of the replica's; empty: nobody. pids: its own processes'."""
    wanted = {port: name for name, port in replica.ports.items()}
    for port, other in ports.listeners(wanted) if wanted else ():
        if other not in pids:
            return f"port {port} ({wanted[port]}) is shared with {ports.described(other)}"
    return ""
