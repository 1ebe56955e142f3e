"""The gate of a wave as it is signed: what the wave's devices have to show before the next one opens.

It is for whoever opens waves (`isthmus.fleet.signed` makes it and reads it); a device acts on none of it. It is signed all the same, so
that whoever goes on with a rollout goes on by the rules that it was begun with, and bounded as all that a device reads is.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import DAY_SECONDS, MILLION, FormatError, integer

MOST_REPORTS: Final = 1_000_000
MOST_SOAK_SECONDS: Final = 7 * DAY_SECONDS
MOST_DEADLINE_SECONDS: Final = 30 * DAY_SECONDS
WhenUnclear = Literal["pause", "pass"]
WHEN_UNCLEAR: Final[tuple[WhenUnclear, ...]] = get_args(WhenUnclear)


@dataclass(frozen=True)
class Gate:
    """max_failure_millionths: of the wave's devices that may fail. min_reports: None: half of the wave. confidence_millionths: None: not
    asked. when_unclear: what more failures than are allowed do, where they are no proof.
    """

    max_failure_millionths: int
    soak_seconds: int
    deadline_seconds: int
    min_reports: int | None = None
    confidence_millionths: int | None = None
    when_unclear: WhenUnclear = "pause"

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        found = {name: getattr(self, name) for name in (*_NEEDED, *_OPTIONAL)}
        return {name: value for name, value in found.items() if value is not None} | {"when_unclear": self.when_unclear}


_NEEDED: Final[dict[str, tuple[int, int]]] = {
    "max_failure_millionths": (0, MILLION),
    "soak_seconds": (0, MOST_SOAK_SECONDS),
    "deadline_seconds": (1, MOST_DEADLINE_SECONDS),
}
_OPTIONAL: Final[dict[str, tuple[int, int]]] = {"min_reports": (1, MOST_REPORTS), "confidence_millionths": (0, MILLION)}


def from_value(value: object, where: str) -> Gate:
    """The gate that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    found = numbers.fields(value, where, (*_NEEDED, "when_unclear"), _OPTIONAL)
    bounds = _NEEDED | _OPTIONAL
    counted = {name: integer(it, f"{where}.{name}", *bounds[name]) for name, it in found.items() if name in bounds}
    unclear = next((it for it in WHEN_UNCLEAR if it == found["when_unclear"]), None)
    if unclear is None:
        expected = " or ".join(WHEN_UNCLEAR)
        raise FormatError(f"{where}.when_unclear", f"found {numbers.shown(found['when_unclear'])}, expected {expected}")
    return Gate(when_unclear=unclear, **counted)
