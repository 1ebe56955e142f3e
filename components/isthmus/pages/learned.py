"""What devices' counts change about a migration policy, in words: the same on a terminal, on a page and on a rollout's row."""

from collections.abc import Iterator

from isthmus.migration.learning.relearning import Learned
from isthmus.words import percent, plain


def said(it: Learned) -> str:
    """In one line."""
    left = f"; {_devices(it.others)} counted other cells" if it.others else ""
    if not it.devices:
        return f"devices have told nothing of these cells yet, so the file's own figures hold{left}"
    return (
        f"{it.looks:,} looks of {_devices(it.devices)}{left}; by these the planned policy would cost {plain(it.planned_cost)} ms a "
        f"request, this one {plain(it.cost)} ({percent(max(it.gain, 0.0))} less), with another choice in {it.choices} states"
    )


def lines(it: Learned) -> Iterator[tuple[str, str]]:
    """What, and how much."""
    yield "devices told", said(it)
    for change in it.changes if it.devices else ():
        yield f"{change.before} →", f"{change.after}: {_chance(change.learned)} of the steps, {_chance(change.planned)} planned"


def _devices(count: int) -> str:
    return f"{count:,} device{'s' if count != 1 else ''}"


def _chance(share: float) -> str:
    return f"{100 * share:.2f} %"
