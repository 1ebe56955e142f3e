"""The waves of a rollout, their gates, what a release has to show on a device, and when devices may change."""

import re
from typing import Annotated, Final, TypedDict

from pulumi import Input
from pydantic import BeforeValidator, Field

from isthmus.arguments.checking import Checked, Limited, one_of
from isthmus.arguments.formats import BYTES_PER_MEGABYTE, DeviceName, Labels, SignedName
from isthmus.errors import Problem
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.limits import FLEET_GATE as GATE
from isthmus.limits import FLEET_WAVE, JITTER_SECONDS, PROBATION
from isthmus_agent.formats.assignment import MOST_NAMED_DEVICES
from isthmus_agent.formats.gate import WHEN_UNCLEAR, WhenUnclear
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.window import Window

MINUTES_AN_HOUR: Final = 60


class FleetGateArgs(TypedDict, total=False):
    """When a wave has passed, and the next one opens.

    max_failure_percent: of the wave's devices that may fail. min_reports: devices that say how it went; left out: half of the wave.
    soak_seconds: that a device serves the release before it counts. deadline_seconds: after which a silent device is a failure.
    confidence_percent: with which a pass shows that no more than max_failure_percent fail. when_unclear: `pause` or `pass`, for more
    failures than max_failure_percent that are no proof.
    """

    max_failure_percent: Input[float]
    min_reports: Input[int]
    soak_seconds: Input[float]
    deadline_seconds: Input[float]
    confidence_percent: Input[float]
    when_unclear: Input[str]


class WaveArgs(TypedDict, total=False):
    """A wave: who has the release once it is open.

    percent, count: of the devices that `group` and `labels` fit; they grow from wave to wave. group: short for the label of that name.
    devices: by name. gate: what of the rollout's gate is another one for this wave. most_per_minute: as the rollout's, for this wave.
    """

    name: Input[str]
    percent: Input[float]
    count: Input[int]
    group: Input[str]
    labels: Input[dict[str, str]]
    devices: Input[list[str]]
    gate: Input[FleetGateArgs]
    most_per_minute: Input[int]


class ProbationArgs(TypedDict, total=False):
    """What a release has to show on each device before it counts as confirmed there; else the device goes back.

    seconds: how long it is looked at. max_crashes: that are forgiven. max_p95_ms: of what clients ask. max_memory_megabytes: that the
    server may fill. max_distribution_distance: a share; of its predictions to those of the release before, on the same inputs.
    """

    seconds: Input[int]
    max_crashes: Input[int]
    max_p95_ms: Input[float]
    max_memory_megabytes: Input[float]
    max_distribution_distance: Input[float]


# `from` is a word of Python's, so that the class has to be written as a call.
WindowArgs = TypedDict("WindowArgs", {"from": Input[str], "to": Input[str], "jitter_seconds": Input[int]}, total=False)
"""When devices may change what they serve: from a time of day to another, in UTC. They spread their changes over jitter_seconds."""


class FleetGateSettings(Checked):
    """Bounds and defaults are `isthmus.limits.FLEET_GATE`."""

    max_failure_percent: Annotated[float, Limited(GATE["max_failure_percent"])] = GATE["max_failure_percent"].default
    min_reports: Annotated[int, Limited(GATE["min_reports"])] | None = GATE["min_reports"].default
    soak_seconds: Annotated[float, Limited(GATE["soak_seconds"])] = GATE["soak_seconds"].default
    deadline_seconds: Annotated[float, Limited(GATE["deadline_seconds"])] = GATE["deadline_seconds"].default
    confidence_percent: Annotated[float, Limited(GATE["confidence_percent"])] | None = GATE["confidence_percent"].default
    when_unclear: Annotated[WhenUnclear, one_of(WHEN_UNCLEAR, "choice")] = Gate.when_unclear

    def but(self, other: "FleetGateSettings | None") -> Gate:
        """The gate, with what another one says in its place."""
        return Gate(**{**self.model_dump(), **(other.model_dump(exclude_unset=True) if other else {})})


class WaveSettings(Checked):
    name: SignedName | None = None
    percent: Annotated[float, Limited(FLEET_WAVE["percent"])] | None = None
    count: Annotated[int, Limited(FLEET_WAVE["count"])] | None = None
    group: str | None = None
    labels: Labels = Field(default_factory=dict)
    devices: Annotated[tuple[DeviceName, ...], Field(max_length=MOST_NAMED_DEVICES)] = ()
    gate: FleetGateSettings | None = None
    most_per_minute: Annotated[int, Limited(FLEET_WAVE["most_per_minute"])] | None = None

    def pure(self, most_per_minute: int | None = None) -> Wave:
        """The wave as `isthmus.fleet.waves` plans it. most_per_minute: where it says none itself."""
        most = self.most_per_minute or most_per_minute
        return Wave(self.name or "", self.percent, self.count, self.group, self.labels, self.devices, most)


class ProbationSettings(Checked):
    """Bounds and defaults are `isthmus.limits.PROBATION`, which are those of what is signed."""

    seconds: Annotated[int, Limited(PROBATION["seconds"])] = PROBATION["seconds"].default
    max_crashes: Annotated[int, Limited(PROBATION["max_crashes"])] = PROBATION["max_crashes"].default
    max_p95_ms: Annotated[float, Limited(PROBATION["max_p95_ms"])] | None = None
    max_memory_megabytes: Annotated[float, Limited(PROBATION["max_memory_megabytes"])] | None = None
    max_distribution_distance: Annotated[float, Limited(PROBATION["max_distribution_distance"])] | None = None

    def signed(self) -> Probation:
        """As it is signed: in whole numbers."""
        return Probation(
            self.seconds,
            self.max_crashes,
            _whole(self.max_p95_ms, 1000),
            _whole(self.max_memory_megabytes, BYTES_PER_MEGABYTE),
            _whole(self.max_distribution_distance, MILLION),
        )


def _whole(value: float | None, times: int) -> int | None:
    return None if value is None else round(value * times)


_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _time_of_day(value: object) -> object:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    quotes = "" if isinstance(value, str) else ". Fix: write it in quotes"  # YAML reads 12:30 as the number 750
    raise ValueError(f'found {value!r}; expected a time of day in UTC, such as "01:30"{quotes}')


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day)]


def _minute(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * MINUTES_AN_HOUR + int(minutes)


class WindowSettings(Checked):
    opens: TimeOfDay = Field(alias="from")
    closes: TimeOfDay = Field(alias="to")
    jitter_seconds: Annotated[int, Limited(JITTER_SECONDS)] = JITTER_SECONDS.default

    def signed(self) -> Window:
        """As it is signed."""
        return Window(_minute(self.opens), _minute(self.closes), self.jitter_seconds)

    def problems(self, path: str) -> list[Problem]:
        if self.opens == self.closes:
            return [Problem(f"{path}.to", "it opens and closes at the same minute", "another time", "leave `window` out for all day")]
        length = self.signed().length_seconds
        if self.jitter_seconds > length:
            what = f"is {self.jitter_seconds} s, and the window is open for {length} s a day"
            return [Problem(f"{path}.jitter_seconds", what, "at most as long as the window", "lower it, or widen the window")]
        return []
