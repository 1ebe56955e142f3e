"""Reports that were not sent yet: one for each assignment, the newest. A verdict is never dropped for something that is none, and those on
the newest assignments never at all."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus_agent.core.effects import Say
from isthmus_agent.disk import durable
from isthmus_agent.formats import numbers, report
from isthmus_agent.formats.report import Outcome, Reason

MOST_WITHOUT_VERDICT: Final = 16
MOST_VERDICTS: Final = 256
"""Of both the oldest are dropped: a device without its store for years has so many releases by sticks, at most."""


class Queue:
    """The reports in a folder. A disk that takes nothing holds up none: they are then kept in this process alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reports: dict[int, Say] = {}

    def open(self) -> None:
        """Reads what a process before this one left. Never raises."""
        for entry in durable.entries(self._folder):
            found = _read(entry)
            if found:
                self._reports[found.number] = found
            else:
                with suppress(OSError):
                    durable.remove(entry)
        self._bound()

    @property
    def waiting(self) -> tuple[Say, ...]:
        """What is to be sent, verdicts first, and of these the newest."""
        return tuple(sorted(self._reports.values(), key=lambda it: (not it.outcome.is_final, -it.number)))

    def put(self, say: Say) -> None:
        """Queues a report. Never raises OSError."""
        before = self._reports.get(say.number)
        if before and before.outcome.is_final and not say.outcome.is_final and before.digest == say.digest:
            return
        self._reports[say.number] = say
        with suppress(OSError):
            durable.make_folder(self._folder)
            durable.write_document(self._folder / str(say.number), _value(say))
        self._bound()

    def _bound(self) -> None:
        for is_final, most in ((False, MOST_WITHOUT_VERDICT), (True, MOST_VERDICTS)):
            for number in sorted(number for number, it in self._reports.items() if it.outcome.is_final is is_final)[:-most]:
                self._drop(number)

    def sent(self, say: Say) -> None:
        """Takes a report out, unless there is another one about that assignment by now."""
        if self._reports.get(say.number) == say:
            self._drop(say.number)

    def _drop(self, number: int) -> None:
        del self._reports[number]
        with suppress(OSError):
            durable.remove(self._folder / str(number))


def _value(say: Say) -> dict[str, object]:
    return {"number": say.number, "digest": say.digest, "outcome": say.outcome.value, "reason": int(say.reason), "text": say.text}


def _read(entry: Path) -> Say | None:
    try:
        found = numbers.fields(durable.read_document(entry), entry.name, ("number", "digest", "outcome", "reason", "text"))
        number = numbers.integer(found["number"], "number", 1)
        digest = "" if found["digest"] == "" else numbers.digest(found["digest"], "digest")
        text = found["text"]
        if entry.name != str(number) or not isinstance(text, str):
            return None
        return Say(number, digest, Outcome(found["outcome"]), Reason(numbers.integer(found["reason"], "reason")), report.printable(text))
    except ValueError:  # FormatError is one
        return None
