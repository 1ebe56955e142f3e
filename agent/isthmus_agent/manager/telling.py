"""What is told about a device: one JSON object, by the running manager or from the disk alone."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from isthmus_agent.core.state import Kept, Moment, Phase, State
from isthmus_agent.core.step import wakes_at
from isthmus_agent.disk.marks import Marks
from isthmus_agent.manager.history import Entry, read

HISTORY: Final = "history"
_WAITS: Final = {
    Phase.IDLE: "the next look at the store",
    Phase.CHECKING: "the store's answer",
    Phase.DOWNLOADING: "the rest of the download",
    Phase.VERIFIED: "one more look at the store, whether the release still holds",
    Phase.WAITING: "the release's window",
    Phase.TRIAL: "the end of the probation",
    Phase.CONFIRMED: "the next look at the store",
    Phase.ROLLED_BACK: "another release",
    Phase.UNFIT: "another release",
    Phase.BLOCKED: "the next try",
}


def of_state(state: State, now: Moment, entries: Sequence[Entry]) -> dict[str, Any]:
    """What a running manager tells."""
    target = state.target
    wanted = None
    if target is not None:
        wanted = {"number": target.number, "digest": target.variant.digest if target.variant else None}
    return {
        "running": True,
        "device": state.device.name,
        "fleet": state.device.fleet,
        "class": state.device.device_class,
        "labels": dict(state.device.labels),
        "phase": state.phase.value,
        "waits_for": _waits_for(state, now),
        "serving": state.served,
        "wanted": wanted,
        "failures_in_a_row": state.failures,
        "looks_in_seconds": None if state.looking else max(0, round(state.poll_at - now.seconds)),
        "wakes_in_seconds": max(0, round(wakes_at(state) - now.seconds)),
        "utc_seconds": None if now.utc_seconds is None else int(now.utc_seconds),
        "crashes": state.crashes,
        "disk": "takes nothing" if state.unsaved else "lost what it knew" if state.is_lost else "well",
        **_of_kept(state.kept),
        "events": [asdict(it) for it in entries],
    }


def of_disk(folder: Path) -> dict[str, Any]:
    """What the disk tells while no manager runs. Nothing is changed."""
    kept = Marks(folder).read()
    entries = read(folder / HISTORY)
    return {
        "running": False,
        "phase": entries[-1].phase if entries else None,
        "waits_for": "the program to be started: isthmus-agent run",
        "serving": None,
        **_of_kept(kept or Kept()),
        "events": [asdict(it) for it in entries],
    }


def _of_kept(kept: Kept) -> Mapping[str, Any]:
    verdict = kept.verdict
    return {
        "number": kept.number,
        "boots": kept.boots,
        "current": {"digest": kept.current, "number": kept.current_number} if kept.current else None,
        "previous": {"digest": kept.previous, "number": kept.previous_number} if kept.previous else None,
        "trial": {"digest": kept.trial, "number": kept.trial_number, "boots": kept.trial_boots} if kept.trial else None,
        "time_floor": kept.time_floor,
        "verdict": None
        if verdict is None
        else {
            "number": verdict.number,
            "digest": verdict.digest,
            "outcome": verdict.outcome.value,
            "reason": verdict.reason.name.lower(),
        },
    }


def _waits_for(state: State, now: Moment) -> str:
    if state.unsaved:
        return f"the disk to take something again; tried in {max(0, round(state.save_at - now.seconds))} s"
    if state.phase is Phase.TRIAL and state.deadline is None:
        return "the new content's self-test"
    if state.phase is Phase.TRIAL and state.deadline is not None and now.seconds < state.deadline:
        return f"the end of the probation, in {round(state.deadline - now.seconds)} s"
    if state.phase is Phase.TRIAL:
        return "measurements that the probation asks for"
    left = max(0, round(state.poll_at - now.seconds))
    return _WAITS[state.phase] + ("" if state.looking or state.phase is Phase.DOWNLOADING else f", in {left} s")


def clock_text(seconds: int) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
