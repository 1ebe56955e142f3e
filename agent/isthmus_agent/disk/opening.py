"""A device's folder, opened and mended: what holds, whatever state it is in."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from isthmus_agent.core.state import Kept
from isthmus_agent.disk import durable
from isthmus_agent.disk.marks import Marks
from isthmus_agent.disk.queue import Queue
from isthmus_agent.disk.slots import Parts, Slots


@dataclass(frozen=True)
class Disk:
    """A device's folder. kept, held, is_lost: for `core.step.start`.

    Where no mark is valid, the rule is this. The number is the highest that is witnessed elsewhere in the folder. Served is the content
    that came first of those that are whole: the others may never have been confirmed. And if there is any trace of an earlier life,
    `is_lost`: an assignment is then believed only if it is known by something other than this disk to be fresh, so that no old one can be
    played back. A folder with no trace at all is a new device's.
    """

    marks: Marks
    slots: Slots
    parts: Parts
    queue: Queue
    kept: Kept
    held: frozenset[str]
    is_lost: bool

    def keep(self, kept: Kept) -> None:
        """Keeps this durably: the effect Persist. Raises OSError; `marks.read` then says what holds."""
        self.marks.write(kept)
        self.slots.witness(kept.number)


def opened(root: Path) -> Disk:
    """Opens a device's folder, and mends in it what can be. Never raises for what is on the disk."""
    with suppress(OSError):
        if not root.is_dir():  # it may be a link to a larger disk
            durable.make_folder(root)
        for name in ("slots", "parts", "reports"):
            durable.make_folder(root / name)
    marks, slots, parts, queue = Marks(root), Slots(root / "slots"), Parts(root / "parts"), Queue(root / "reports")
    queue.open()
    held, notes, kept = slots.held(), slots.numbers(), marks.read()
    if kept is not None:
        with suppress(OSError):
            marks.write(kept)  # a copy that was damaged is whole again
            slots.witness(kept.number)
        return Disk(marks, slots, parts, queue, kept, held, is_lost=False)
    is_lost = marks.exist or bool(held or notes or queue.waiting or slots.witnessed)
    number = max([slots.witnessed, *notes.values(), *(say.number for say in queue.waiting)])
    first = min(held, key=lambda digest: (notes.get(digest, 0), digest), default=None)
    found = Kept(number=number, current=first, current_number=notes.get(first, 0) if first else 0)
    return Disk(marks, slots, parts, queue, found, held, is_lost)
