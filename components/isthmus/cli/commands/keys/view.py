"""`isthmus keys status`: every role's keys, as values, as JSON and on a terminal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from isthmus.repository.ceremony import RoleStatus
from isthmus.repository.reading import Current
from isthmus.repository.refresh import is_due

Due = Literal["", "refresh", "expired", "resume", "unknown"]
_WORDS = {
    "": "",
    "refresh": "soon: fleet refresh",
    "expired": "EXPIRED: fleet refresh",
    "resume": "not in force: keys resume",
    "unknown": "",
}


@dataclass(frozen=True)
class KeyRow:
    """One key. is_here: its private half. where: its URI."""

    keyid: str
    where: str
    is_here: bool


@dataclass(frozen=True)
class RoleRow:
    """One role. expires, days: None where nothing is published for it, or that is not known.

    due: what is to be done: sign it anew soon, or at once; finish a step that was broken off; not known, without a store.
    """

    role: str
    threshold: int
    keys: tuple[KeyRow, ...]
    expires: str | None
    days: int | None
    due: Due


def rows_of(roles: Sequence[RoleStatus], current: Current | None, now: datetime) -> list[RoleRow]:
    """current: None where it is not known."""
    return [
        RoleRow(
            it.role,
            it.threshold,
            tuple(KeyRow(keyid, it.uris[keyid], is_here) for keyid, is_here in it.at_hand.items()),
            it.expires.isoformat() if it.expires else None,
            (it.expires - now).days if it.expires else None,
            _due(it, now) if current else "unknown",
        )
        for it in roles
    ]


def is_well(rows: Sequence[RoleRow]) -> bool:
    """Nothing has expired, and no step waits to be finished."""
    return not any(row.due in {"expired", "resume"} for row in rows)


def data(rows: Sequence[RoleRow]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(row) for row in rows]


def rendered(rows: Sequence[RoleRow]) -> Table:
    """A line for each key; fits a terminal of 80 columns."""
    found = Table("role", "must sign", "key", "where", "here", "days", "due", box=None, padding=(0, 1, 0, 0), header_style="dim")
    for column in (0, 2):
        found.columns[column].no_wrap = True
    found.columns[5].justify = "right"
    for row in rows:
        for index, key in enumerate(row.keys):
            mine = (row.role, f"{row.threshold} of {len(row.keys)}", "" if row.days is None else f"{row.days}", _WORDS[row.due])
            role, must, days, due = mine if not index else ("", "", "", "")
            where, here = Text(key.where, overflow="fold"), Text("yes" if key.is_here else "no", style="" if key.is_here else "dim")
            style = "red" if row.due in {"expired", "resume"} else "yellow"
            found.add_row(Text(role), Text(must), Text(key.keyid[:12]), where, here, Text(days), Text(due, style=style))
    return found


def _due(it: RoleStatus, now: datetime) -> Due:
    if not it.is_published:
        return "resume"
    if it.expires is None:
        return ""
    if it.expires <= now:
        return "expired"
    return "refresh" if is_due(it.role, it.expires, now) else ""
