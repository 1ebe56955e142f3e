"""What happened to this device lately, for whoever asks why it is in the state it is in."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from isthmus_agent.core import events
from isthmus_agent.core.events import Event
from isthmus_agent.core.state import Phase, State
from isthmus_agent.core.step import refused
from isthmus_agent.disk import durable
from isthmus_agent.formats import digests
from isthmus_agent.formats.report import printable

MOST_ENTRIES: Final = 64
_WRITE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Entry:
    """at: seconds since 1970, by the best clock at that time. times: how often in a row; at is the last one."""

    at: int
    phase: str
    what: str
    times: int = 1


class History:
    """The last entries, in memory and in a file. Losing that file loses nothing but the answer to `why`."""

    def __init__(self, file: Path, utc: Callable[[], float]) -> None:
        self._file, self._utc = file, utc
        self._entries = list(read(file))
        self._written_at = float("-inf")

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The oldest first."""
        return tuple(self._entries)

    def note(self, what: str, phase: Phase) -> None:
        """Notes something."""
        entry = Entry(max(0, int(self._utc())), phase.value, what)
        last = self._entries[-1] if self._entries else None
        is_again = last is not None and (last.phase, last.what) == (entry.phase, entry.what)
        if last is not None and is_again:
            self._entries[-1] = replace(entry, times=last.times + 1)
        else:
            self._entries.append(entry)
        del self._entries[:-MOST_ENTRIES]
        # The same again is no reason to wear out a flash chip.
        if not is_again or time.monotonic() - self._written_at > _WRITE_SECONDS:
            self._written_at = time.monotonic()
            with suppress(OSError):
                durable.write_document(self._file, [asdict(it) for it in self._entries])

    def see(self, before: State, event: Event, after: State) -> None:
        """Notes what an event was, if it tells something."""
        what = _told(before, event)
        if before.phase is not after.phase and not {before.phase, after.phase} & {Phase.CHECKING}:
            what = f"{what}; {before.phase.value} -> {after.phase.value}" if what else f"{before.phase.value} -> {after.phase.value}"
        if before.kept.verdict != after.kept.verdict and after.kept.verdict:
            verdict = after.kept.verdict
            said = f"release {verdict.number}: {verdict.outcome.value}"
            what = f"{what}; {said}" if what else said
        if what:
            self.note(what, after.phase)


def read(file: Path) -> tuple[Entry, ...]:
    """The entries in a file; none where they cannot be read."""
    found = durable.read_document(file)
    entries = []
    for it in found if isinstance(found, list) else []:
        with suppress(TypeError, KeyError, ValueError):
            entries.append(Entry(int(it["at"]), printable(str(it["phase"])), str(it["what"])[:300], int(it["times"])))
    return tuple(entries[-MOST_ENTRIES:])


def _told(before: State, event: Event) -> str:
    telling: dict[type, Callable[[Any], str]] = {
        events.Checked: lambda it: _told_of(before, it),
        events.CheckFailed: lambda it: f"the store could not be asked: {_why(it)}",
        events.Fetched: lambda it: f"fetched {digests.shown(it.digest)}",
        events.FetchFailed: lambda it: f"could not fetch {digests.shown(it.digest)}: {_why(it)}",
        events.Serving: lambda it: f"serving {digests.shown(it.digest)}" if before.served != it.digest else "",
        events.ServeFailed: lambda it: f"could not serve {digests.shown(it.digest)}: {_why(it)}",
        events.Crashed: lambda it: f"the server of {digests.shown(it.digest)} fell over: {_why(it)}",
        events.PersistFailed: lambda it: f"the disk takes nothing: {it.reason.name.lower()}",
        events.RollBack: lambda _: "somebody at the device asked to go back",
        events.LookNow: lambda _: "somebody at the device asked to look",
    }
    found = telling.get(type(event))
    return printable_text(found(event)) if found else ""


def printable_text(text: str) -> str:
    """Nothing of what a store or a model said can move a terminal's cursor."""
    return "".join(it if it.isprintable() else "?" for it in text[:300])


def _told_of(before: State, event: events.Checked) -> str:
    number = event.assignment.number
    if reason := refused(before, event):
        return f"release {number} was not believed: {reason.name.lower()}"
    return "" if _is_known(before, event) else f"told of release {number}"


def _is_known(before: State, event: events.Checked) -> bool:
    return before.assignment is not None and before.assignment.number == event.assignment.number


def _why(event: Any) -> str:
    return f"{event.reason.name.lower()}" + (f" ({event.text})" if event.text else "")
