"""Two copies of what the core keeps. The newest valid one is what holds; numbers and times are the highest of any valid one.

Both are written at each change, one after the other, so that each alone has everything: a copy that is lost later loses nothing.
"""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from isthmus_agent.core.state import Kept, Verdict
from isthmus_agent.disk import durable
from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import FormatError, integer
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome, Reason

NAMES: Final = ("mark-a", "mark-b")
_FIELDS: Final = tuple(Kept.__dataclass_fields__)
_COUNTS: Final = (
    "number",
    "time_floor",
    "boots",
    "current_number",
    "previous_number",
    "trial_number",
    "trial_boots",
    "trial_reboots",
    "crashes",
)
_TEXTS: Final = ("identity", "time_keys", "boot_id")
_DIGESTS: Final = ("current", "previous", "trial")


class Marks:
    """The marks in a folder."""

    def __init__(self, folder: Path) -> None:
        self._files = [folder / name for name in NAMES]
        self._sequence = 0

    @property
    def exist(self) -> bool:
        """Whether there is anything by their names, be it damaged."""
        return any(os.path.lexists(file) for file in self._files)

    def read(self) -> Kept | None:
        """What is kept. None: no copy is valid. Never raises."""
        valid = [found for found in map(_read, self._files) if found]
        if not valid:
            return None
        self._sequence, newest = max(valid, key=lambda it: it[0])
        highest = max((kept for _, kept in valid), key=lambda it: it.number)
        identity = newest.identity if newest.number == highest.number else highest.identity
        time_floor = max(kept.time_floor for _, kept in valid if kept.time_keys == newest.time_keys)
        return replace(newest, number=highest.number, identity=identity, time_floor=time_floor)

    def write(self, kept: Kept) -> None:
        """Keeps this, durably, in both copies. Raises OSError; `read` then says what holds."""
        self._sequence += 1
        for file in self._files:
            durable.write_document(file, {"sequence": self._sequence, "kept": to_value(kept)})


def to_value(kept: Kept) -> dict[str, Any]:
    """Of JSON's types alone."""
    value = asdict(kept)
    if kept.verdict:
        value["verdict"] = {**value["verdict"], "outcome": kept.verdict.outcome.value, "reason": int(kept.verdict.reason)}
    return value


def from_value(value: object) -> Kept:
    """What a value of `to_value` keeps. Raises FormatError for every other."""
    found = numbers.fields(value, "kept", _FIELDS)
    counts: dict[str, Any] = {name: integer(found[name], name) for name in _COUNTS}
    digests: dict[str, Any] = {name: None if found[name] is None else numbers.digest(found[name], name) for name in _DIGESTS}
    texts: dict[str, Any] = {name: _text(found[name], name) for name in _TEXTS}
    if not isinstance(found["is_stopped"], bool):
        raise FormatError("is_stopped", "expected true or false")
    counts["is_stopped"] = found["is_stopped"]
    return Kept(**counts, **digests, **texts, probation=_probation(found["probation"]), verdict=_verdict(found["verdict"]))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > 64:
        raise FormatError(where, "expected a short text")
    return value


def _probation(value: object) -> Probation:
    found = numbers.fields(value, "probation", tuple(Probation.__dataclass_fields__))
    return Probation(**{name: None if it is None and name.startswith("max_") else integer(it, name) for name, it in found.items()})  # type: ignore[arg-type]


def _verdict(value: object) -> Verdict | None:
    if value is None:
        return None
    found = numbers.fields(value, "verdict", ("number", "digest", "outcome", "reason"))
    try:
        outcome, reason = Outcome(found["outcome"]), Reason(integer(found["reason"], "reason"))
    except ValueError as error:
        raise FormatError("verdict", "an unknown outcome or reason") from error
    return Verdict(integer(found["number"], "verdict.number"), numbers.digest(found["digest"], "verdict.digest"), outcome, reason)


def _read(file: Path) -> tuple[int, Kept] | None:
    try:
        found = numbers.fields(durable.read_document(file), file.name, ("sequence", "kept"))
        return integer(found["sequence"], "sequence"), from_value(found["kept"])
    except FormatError:
        return None
