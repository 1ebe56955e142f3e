"""A release on its way through a cloud role and a fleet at once: the steps, and what either side serves in each. Pure.

The cloud role goes first, share by share, then the fleet wave by wave; the version before leaves the cloud role last. So whoever asks, in
whatever step, is answered with a version that both sides stand behind: a device that has the release finds it in the cloud role, and one
that does not finds the version before. A step is taken once the one before it has passed its gate, and a side that fails takes the other
back to the version before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


def steps(shares: Sequence[int], waves: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps from the first share to the last wave, and the one after it.

    Args:
        shares: of the plain requests, in percent, growing; the last is 100. Before the last comes the gate of a canary.
        waves: `name`, `devices` and `most_hurt` of each, as in a fleet's plan.
    """
    found = [Step(share, "", 0, 0, keeps_before=True, asks=_CANARY if share < ALL_PERCENT else _SERVES) for share in shares]
    reached = 0
    for wave in waves:
        reached += int(wave["devices"])
        found.append(Step(ALL_PERCENT, str(wave["name"]), reached, int(wave["most_hurt"]), keeps_before=True, asks=_WAVE))
    return (*found, Step(ALL_PERCENT, "", reached, 0, keeps_before=False, asks=_NOTHING))


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
_WAVE: Final = "the wave's gate passes"
