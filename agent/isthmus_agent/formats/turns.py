"""Whose turn it is: of the devices with one value of a label no more than so many are updated at once.

The devices of a value come one after another: in the order of the open waves, and within a wave in that of their draws (`pace_draw`). The
publisher signs how far each value has come, and goes on when reports show that those before are done. A device of an open wave whose turn
has not come is as if its wave were not open. Devices without the label have the value "".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus_agent.formats import numbers
from isthmus_agent.formats.numbers import MILLION, FormatError, integer
from isthmus_agent.formats.pace import WHOLE_PACE
from isthmus_agent.formats.roster import MOST_DEVICES
from isthmus_agent.formats.signed_fields import MOST_SECONDS

MOST_VALUES: Final = 1024
"""Of a label, in what is signed."""
NO_VALUE: Final = ""
"""Of devices without the label."""
Place = tuple[int, int]
"""The index of a wave, and a draw in it."""
START: Final[Place] = (0, 0)


def _value(labels: Mapping[str, str], label: str) -> str:
    return labels.get(label, NO_VALUE)


@dataclass(frozen=True)
class Budget:
    """So many devices of each value of a label, or such a share of them: rounded down, and at least one. Exactly one of the two is said."""

    label: str
    most_devices: int | None = None
    most_millionths: int | None = None

    def of(self, devices: int) -> int:
        """For a value that so many devices of the fleet have."""
        return max(1, devices * (self.most_millionths or 0) // MILLION) if self.most_devices is None else self.most_devices

    def value_of(self, labels: Mapping[str, str]) -> str:
        """The value that a device with these labels has."""
        return _value(labels, self.label)


@dataclass(frozen=True)
class Reached:
    """How far a rollout has come. by_value: devices at places before it have had their turn; of other values none has."""

    label: str
    by_value: Mapping[str, Place] = field(default_factory=dict)

    def has(self, labels: Mapping[str, str], wave: int, drawn: int) -> bool:
        """Whether the turn of a device with these labels has come. wave: the index of its own; drawn: its `pace_draw`."""
        return (wave, drawn) < self.by_value.get(_value(labels, self.label), START)

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        return {"label": self.label, "reached": {value: list(place) for value, place in sorted(self.by_value.items())}}


@dataclass(frozen=True)
class Turns:
    """since_seconds: since 1970, when the last turn came."""

    budget: Budget
    by_value: Mapping[str, Place]
    since_seconds: int

    @property
    def reached(self) -> Reached:
        return Reached(self.budget.label, self.by_value)

    def is_over(self, open_waves: int) -> bool:
        """Whether all devices of so many waves have had their turn, as far as they were known when it was signed."""
        return bool(self.by_value) and min(self.by_value.values()) >= (open_waves, 0)

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone, as it is signed."""
        its = self.budget
        figure = {"millionths": its.most_millionths} if its.most_devices is None else {"most": its.most_devices}
        return {**self.reached.to_value(), **figure, "since": self.since_seconds}


def from_value(value: object, where: str, waves: int) -> Turns:
    """The turns that a parsed JSON value holds. waves: how many there are. Raises FormatError for what is none, and nothing else."""
    found = numbers.fields(value, where, ("label", "reached", "since"), ("most", "millionths"))
    if ("most" in found) == ("millionths" in found):
        raise FormatError(where, "expected either most or millionths")
    budget = Budget(
        numbers.name(found["label"], f"{where}.label"),
        integer(found["most"], f"{where}.most", 1, MOST_DEVICES) if "most" in found else None,
        integer(found["millionths"], f"{where}.millionths", 1, MILLION) if "millionths" in found else None,
    )
    return Turns(budget, _places(found["reached"], f"{where}.reached", waves), integer(found["since"], f"{where}.since", 0, MOST_SECONDS))


def reached_from(value: object, where: str, waves: int) -> Reached:
    """As `from_value`, how far a rollout had come that is kept."""
    found = numbers.fields(value, where, ("label", "reached"))
    return Reached(numbers.name(found["label"], f"{where}.label"), _places(found["reached"], f"{where}.reached", waves))


def _places(value: object, where: str, waves: int) -> Mapping[str, Place]:
    if not isinstance(value, dict) or len(value) > MOST_VALUES:
        raise FormatError(where, f"expected an object with {MOST_VALUES} values of a label at most")
    found = {}
    for key, it in value.items():
        its = numbers.items(it, where, 2, 2)
        place = integer(its[0], where, 0, waves), integer(its[1], where, 0, WHOLE_PACE)
        found[NO_VALUE if key == NO_VALUE else numbers.label(key, where)] = place
    return dict(sorted(found.items()))
