"""What the commands show of a stack, as values: the same on every platform."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.errors import InputError, Problem
from isthmus.observing.reach import Server, Way
from isthmus.observing.stack_state import StackState

AVAILABLE = "AVAILABLE"
RUNNING = "running"
"""It runs; whether it answers cannot be seen from this machine."""
LEAVING = "leaving"
"""On its way out: another takes, or took, its place."""
_SOUND = frozenset({AVAILABLE, RUNNING, LEAVING})
Outputs = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One running part. kind: gateway, replica N, a track with its pool, or device. on: address, node or host.

    release: digest of what it serves. state: AVAILABLE, RUNNING, LEAVING, or what is wrong.
    """

    kind: str
    name: str
    on: str
    state: str
    release: str = ""
    version: str = ""
    restarts: int = 0

    @property
    def healthy(self) -> bool:
        return self.state in _SOUND


@dataclass(frozen=True)
class Block:
    """A service or a fleet. facts: label and text of what concerns the whole. problem: why its parts could not be asked."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    problem: str = ""

    @property
    def healthy(self) -> bool:
        serves = any(part.state in (AVAILABLE, RUNNING) for part in self.parts)
        return not self.problem and serves and all(part.healthy for part in self.parts)


@dataclass(frozen=True)
class Source:
    """One part's log. key: tells parts apart that have the same name one after the other.

    lines(tail, follow): the last `tail` lines (None: all of them), oldest first, and with `follow` those that come. Raises
    IsthmusError.
    """

    key: str
    name: str
    lines: Callable[[int | None, bool], Iterator[str]]


def behind_gateway(outputs: Outputs, way: Way, why: str) -> list[Server]:
    """All servers as one, which the gateway spreads requests over: so many at a time as keep them busy."""
    replicas = int((outputs.get("plan") or {}).get("replicas") or 1)
    note = f"{why}: the job goes through the gateway, which spreads it over {replicas}"
    return [Server("gateway", way, speed=replicas, lanes=2 * replicas, note=note)]


def one_of(state: StackState, service: str, path: str) -> Outputs:
    """The outputs of one service. path: of the argument that names it. Raises InputError where there is no such service."""
    services = state.services()
    if service not in services:
        known = ", ".join(sorted(services)) or "none: it has no services"
        raise InputError([Problem(path, f"stack {state.name!r} has no service {service!r}", f"one of {known}")])
    return services[service]
