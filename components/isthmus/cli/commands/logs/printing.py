"""`isthmus logs`: what the parts of a stack wrote, on every platform."""

import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Any

from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.observing.parts import Source
from isthmus.observing.stack_state import StackState
from isthmus.platforms.registry import observer_of

LOOK_SECONDS = 2.0
"""Between two looks for parts that are new, while logs are followed."""
Out = Callable[[str, str], None]


def sources_of(state: StackState, service: str | None) -> list[Source]:
    """The logs of a stack's services and devices, or of one of them.

    Raises:
        InputError: no service or fleet of that name.
        PlatformError: a platform that cannot be asked.
    """
    known: list[tuple[str, Any]] = [*state.fleets().items(), *state.services().items()]
    if service is not None and service not in dict(known):
        names = ", ".join(sorted(dict(known)))
        raise InputError([Problem("--service", f"stack {state.name!r} has no {service!r}", f"one of {names}")])
    found = [source for name, it in known if service in (None, name) for source in observer_of(it).sources(name, it, state)]
    return list({source.key: source for source in found}.values())


def show(find: Callable[[], Iterable[Source]], tail: int, out: Out) -> bool:
    """Prints the last lines of each source. out(name, line). Returns whether every log could be read."""
    whole = True
    for source in find():
        whole = _show(source, tail, False, out, threading.Event()) and whole
    return whole


def follow(find: Callable[[], Iterable[Source]], tail: int, out: Out, stop: threading.Event) -> None:
    """Prints the last lines of all sources and those that come, until stopped. A source that appears later is shown from its start."""
    printing, known = threading.Lock(), set[str]()
    trouble = ""

    def print_one(name: str, line: str) -> None:
        with printing:
            out(name, line)

    sources = find()
    lines: int | None = tail
    while True:
        for source in sources:
            if source.key not in known:
                known.add(source.key)
                threading.Thread(target=partial(_show, source, lines, True, print_one, stop), daemon=True).start()
        if stop.wait(LOOK_SECONDS):
            return
        try:
            sources, lines, trouble = find(), None, ""
        except IsthmusError as error:  # what is known goes on; who is new is seen later
            if str(error) != trouble:
                trouble = str(error)
                print_one("", f"({trouble}; trying again)")


def _show(source: Source, tail: int | None, follow: bool, out: Out, stop: threading.Event) -> bool:
    try:
        with closing(source.lines(tail, follow)) as lines:  # type: ignore[type-var]  # generators all
            for line in lines:
                out(source.name, line)
                if stop.is_set():
                    break
    except (IsthmusError, OSError) as error:
        out(source.name, f"({error})")
        return False
    return True
