"""What `isthmus hybrid watch` does: looks again and again, and shows what it sees."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from isthmus.cli.commands.hybrid.view import rendered
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.migration.running import CloudReading, Reading
from isthmus.observing.fleets import fleet_of
from isthmus.observing.parts import AVAILABLE, RUNNING
from isthmus.observing.routing import asked, reported
from isthmus.observing.stack_state import StackState, read_stack
from isthmus.platforms.registry import observer_of

Looking = Callable[[], Reading]
"""How it is now. Raises IsthmusError."""


def watched(stack_and_name: str) -> Looking:
    """How a hybrid is looked at. stack_and_name: STACK, or STACK/NAME. Raises IsthmusError where there is none."""
    stack, _, name = stack_and_name.partition("/")
    state = read_stack(stack)
    name, fleet = _fleet(state, name)
    devices: Mapping[str, str] = dict(fleet.get("devices") or {})
    elsewhere = None if devices else fleet_of(name, state)
    service = state.services().get(name)

    def look() -> Reading:
        cloud = None if service is None else _cloud(name, service, state)
        found = asked(devices) if elsewhere is None else reported(elsewhere)
        return Reading(name, time.strftime("%H:%M:%S"), found, cloud)

    return look


def show(look: Looking, *, once: bool, as_json: bool, page: bool, port: int, every: float) -> None:
    """Shows it in the way that is asked for, until Ctrl-C. Raises IsthmusError."""
    console = Console()
    if as_json:
        _print_json(look, console, every=None if once else every)
    elif page:
        from isthmus.cli.shared.serving import serve
        from isthmus.pages.hybrid import live_pages

        serve(look, look(), live_pages, console, port=port, every_seconds=every)
    elif once:
        console.print(rendered(look()))
    else:
        _live(look, console, every)


def _print_json(look: Looking, console: Console, every: float | None) -> None:
    """An object a look; every: None: one."""
    try:
        while True:
            console.print(json.dumps(look().data()), markup=False, highlight=False, soft_wrap=True)
            if every is None:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        return


def _live(look: Looking, console: Console, every: float) -> None:
    """In place, until Ctrl-C."""
    with Live(rendered(look()), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        try:
            while True:
                time.sleep(every)
                live.update(rendered(look()), refresh=True)
        except KeyboardInterrupt:
            return


def _fleet(state: StackState, name: str) -> tuple[str, Mapping[str, Any]]:
    """The hybrid's name and its fleet's outputs. Raises InputError where there is none, or several and none was named."""
    fleets = state.fleets()
    found = {it: fleets[it] for it in ([name] if name else fleets) if it in fleets}
    if len(found) == 1:
        return next(iter(found.items()))
    known = ", ".join(f"{state.name}/{it}" for it in sorted(fleets)) or "none: it has no fleet"
    what = f"stack {state.name!r} has no hybrid {name!r}" if name else f"stack {state.name!r} has {len(fleets) or 'no'} hybrids"
    raise InputError([Problem("STACK", what, f"one of {known}")])


def _cloud(name: str, outputs: Mapping[str, Any], state: StackState) -> CloudReading:
    try:
        parts = [it for it in observer_of(outputs).block(name, outputs, state).parts if it.kind != "gateway"]
    except IsthmusError as error:
        return CloudReading(name, problem=str(error))
    return CloudReading(name, len(parts), sum(it.state in (AVAILABLE, RUNNING) for it in parts))
