"""A release on its way through a cloud role and a fleet at once: the steps, and what either side serves in each. Pure.

The cloud role goes first, the fleet follows wave by wave, and the version before leaves the cloud role last. With a canary the cloud role
has its share until all waves but one have passed, then all requests, and then comes the last wave. So whoever asks, in whatever step, is
answered with a version that both sides stand behind: a device that has the release finds it in the cloud role, and one that does not finds
the version before. A step is taken once the one before it has passed its gate, and a side that fails takes the other back or holds it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from isthmus.words import in_columns

ALL_PERCENT: Final = 100
_NOTHING: Final = "–"


@dataclass(frozen=True)
class Step:
    """share_percent: of the plain requests that the cloud role answers with the release. wave: that is opened; empty: none.

    devices: that may have the release. most_hurt: on which a release fails at most before the wave is stopped. keeps_before: whether the
    cloud role has the version before, too. asks: what has to be shown before the next step.
    """

    share_percent: int
    wave: str
    devices: int
    most_hurt: int
    keeps_before: bool
    asks: str


def steps(canary_percent: int, waves: Sequence[Mapping[str, Any]], *, keeps_before: bool = True) -> tuple[Step, ...]:
    """The steps until the release is alone.

    Args:
        canary_percent: of the plain requests, that a canary gets until it is promoted; 0: there is none.
        waves: `name`, `devices` and `most_hurt` of each, as in a fleet's plan.
        keeps_before: whether the cloud role can have two versions; without that it has the release alone from the first step on.
    """
    promoted = _SERVES if not canary_percent else _PROMOTED
    share, devices, found = 0, 0, list[Step]()
    order: list[int | Mapping[str, Any]] = [ALL_PERCENT, *waves]
    if canary_percent:
        order = [canary_percent, *waves[:-1], ALL_PERCENT, *waves[-1:]]
    for it in order:
        if isinstance(it, int):
            share = it
            found.append(Step(share, "", devices, 0, keeps_before=keeps_before, asks=_CANARY if share < ALL_PERCENT else promoted))
        else:
            devices += int(it["devices"])
            found.append(Step(share, str(it["name"]), devices, int(it["most_hurt"]), keeps_before=keeps_before, asks=_WAVE))
    if canary_percent and waves:
        found[-1] = replace(found[-1], asks=f"{_WAVE}; {_CAUGHT_UP}")
    if not keeps_before:
        return tuple(found)
    return (*found, Step(share, "", devices, 0, keeps_before=False, asks=_NOTHING))


def lines(found: Sequence[Step]) -> list[str]:
    """The table in plain text, below a line that says what it is."""
    total = max((it.devices for it in found), default=0)
    return ["rolled out together:", *(f"  {line}" for line in in_columns([_HEADS, *_cells(found, total)], words=0))]


def _cells(found: Sequence[Step], total: int) -> Iterator[list[str]]:
    for number, it in enumerate(found, 1):
        devices = f"{it.devices:,} of {total:,}"
        hurt = f"{it.most_hurt:,}" if it.wave else _NOTHING
        before = "yes" if it.keeps_before else "no"
        yield [f"{number}", f"{it.share_percent} %", before, it.wave or _NOTHING, devices, hurt, it.asks]


_HEADS: Final = ["step", "cloud", "version before", "wave", "devices", "hurt", "before the next step"]
_CANARY: Final = "the canary's gate passes"
_SERVES: Final = "each server answers as the release"
_PROMOTED: Final = "its servers have all requests"
_CAUGHT_UP: Final = "the stack file catches up"
_WAVE: Final = "the wave's gate passes"
