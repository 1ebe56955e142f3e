"""`isthmus logs`: what the parts of a stack wrote, on every platform."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.cli.stack_state import StackState
from isthmus.errors import InputError, Problem

_POLL_SECONDS = 0.3
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Source:
    """One part's log. lines(tail, follow): the last `tail` lines, oldest first, and with `follow` those that come."""

    name: str
    lines: Callable[[int, bool], Iterator[str]]


def sources_of(state: StackState, service: str | None) -> list[Source]:
    """The logs of a stack's services and devices, or of one of them.

    Raises:
        InputError: no service or fleet of that name.
    """
    found = [
        source
        for name, it in {**state.fleets(), **state.services()}.items()
        if service in (None, name)
        for source in _SOURCES[(it.get("place") or {"platform": "local"})["platform"]](name, it, state)
    ]
    if service is not None and not found:
        known = ", ".join(sorted({*state.services(), *state.fleets()}))
        raise InputError([Problem("--service", f"stack {state.name!r} has no {service!r}", f"one of {known}")])
    return list({source.name: source for source in found}.values())


def show(sources: Iterable[Source], tail: int, follow: bool, out: Callable[[str, str], None]) -> None:
    """Prints each source's lines; with `follow` all sources at once, until interrupted. out(name, line)."""
    if not follow:
        for source in sources:
            for line in source.lines(tail, False):
                out(source.name, line)
        return
    printing = threading.Lock()

    def run(source: Source) -> None:
        for line in source.lines(tail, True):
            with printing:
                out(source.name, line)

    threads = [threading.Thread(target=run, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(_POLL_SECONDS)


def _local(name: str, outputs: Mapping[str, Any], state: StackState) -> Iterator[Source]:
    """Files of the supervisor: `logs/PROGRAM-INDEX.log`."""
    devices = outputs.get("devices") or {}
    programs = (outputs.get("place") or {}).get("programs") or [
        f"{prefix}-{device}" for prefix in (name, f"{name}-edge") for device in devices
    ]
    known = state.resources.get("LocalProcesses", {})
    for program in programs:
        folder = Path(str(known.get(program, {}).get("supervisor") or "")) / "logs"
        for file in sorted(folder.glob(f"{program}-[0-9]*.log")):
            yield Source(file.stem, partial(file_lines, file))


def file_lines(file: Path, tail: int, follow: bool) -> Iterator[str]:
    """The last lines of a file, and with `follow` those that are written to it; goes on when the file is rotated."""
    stream = file.open("r", encoding="utf-8", errors="replace")
    try:
        yield from (line.rstrip("\n") for line in deque(stream, maxlen=tail))
        rest, is_last_look = "", False
        while follow:
            if text := stream.read(_BLOCK_BYTES):
                *lines, rest = (rest + text).split("\n")
                yield from lines
            elif is_last_look:
                stream.close()
                stream, is_last_look = file.open("r", encoding="utf-8", errors="replace"), False
            elif file.exists() and file.stat().st_ino != os.fstat(stream.fileno()).st_ino:
                is_last_look = True  # what was written before it was rotated away
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        stream.close()


_SOURCES: dict[str, Callable[[str, Mapping[str, Any], StackState], Iterator[Source]]] = {"local": _local}
