"""What a rollout on a fleet accepts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited, RecipeText, same_twice
from isthmus.arguments.formats import ANY_CLASS, DeviceClass
from isthmus.arguments.secrets import Secret
from isthmus.arguments.waves import (
    FleetGateArgs,
    FleetGateSettings,
    ProbationArgs,
    ProbationSettings,
    WaveArgs,
    WaveSettings,
    WindowArgs,
    WindowSettings,
)
from isthmus.errors import Problem
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave, check_waves
from isthmus.limits import FALLBACK_TIMEOUT_MS, MIN_CONFIDENCE, MOST_CLASSES, MOST_WAVES, RELEASES_PER_MONTH
from isthmus_agent.formats.assignment import Probation
from isthmus_agent.formats.window import Window


class DeviceAccessArgs(TypedDict, total=False):
    """As whom the devices that a stack runs on this machine use a store of the user's own (secrets)."""

    access_key: Input[str]
    secret_key: Input[str]


# `class` is a word of Python's, so that the class has to be written as a call.
VariantArgs = TypedDict("VariantArgs", {"class": Input[str], "recipe": Input[str]}, total=False)
"""The recipe for the devices of a class; `*`: for those of every other."""


class RollingArgs(TypedDict, total=False):
    """A fleet file, in which waves a release reaches the fleet, and how sure a device must be to answer by itself.

    releases_per_month: for the cost of shipping. waves: left out: one device, then all. gate: of every wave. wait: whether `up` waits for
    the gates; else `isthmus fleet watch` or the next `up` looks at them. keys: folder of the key ring. variants: recipes by class of
    devices, the first that fits a class for it; left out: `recipe` for all.
    """

    fleet: Input[str]
    releases_per_month: Input[float]
    waves: Input[list[WaveArgs]]
    gate: Input[FleetGateArgs]
    probation: Input[ProbationArgs]
    window: Input[WindowArgs]
    wait: Input[bool]
    keys: Input[str]
    device_access: Input[DeviceAccessArgs]
    variants: Input[list[VariantArgs]]
    min_confidence: Input[float]
    fallback_timeout_ms: Input[int]


class DeviceAccessSettings(Checked):
    """Values may be Outputs of other resources, so nothing but their presence is checked here."""

    access_key: Secret
    secret_key: Secret


class VariantSettings(Checked):
    device_class: DeviceClass = Field(alias="class")
    recipe: RecipeText


class RollingSettings(Checked):
    gone: ClassVar[Mapping[str, str]] = {"deadline_seconds": "say it of the waves' gate: `gate: {deadline_seconds: …}`"}

    fleet: str
    releases_per_month: Annotated[float, Limited(RELEASES_PER_MONTH)] = RELEASES_PER_MONTH.default
    waves: Annotated[tuple[WaveSettings, ...], Field(max_length=MOST_WAVES)] | None = None
    gate: FleetGateSettings = FleetGateSettings()
    probation: ProbationSettings = ProbationSettings()
    window: WindowSettings | None = None
    wait: bool = True
    keys: Annotated[str, Field(min_length=1)] | None = None
    device_access: DeviceAccessSettings | None = None
    variants: Annotated[tuple[VariantSettings, ...], Field(max_length=MOST_CLASSES)] = ()
    min_confidence: Annotated[float, Limited(MIN_CONFIDENCE)] | None = None
    fallback_timeout_ms: Annotated[int, Limited(FALLBACK_TIMEOUT_MS)] = FALLBACK_TIMEOUT_MS.default

    def wave_list(self, devices: int) -> Sequence[Wave]:
        """The waves. Where none are given: one device, then all. devices: of the whole fleet, 0 where that is not known."""
        if self.waves is not None:
            return [wave.pure() for wave in self.waves]
        rest = Wave("rest", percent=100)
        return [Wave("all", percent=100)] if devices == 1 else [Wave("canary", count=1), rest]

    def gates(self, devices: int) -> Sequence[Gate]:
        """The gate of each wave of `wave_list`."""
        own = [None] * len(self.wave_list(devices)) if self.waves is None else [wave.gate for wave in self.waves]
        return [self.gate.but(gate) for gate in own]

    def probation_of(self) -> Probation:
        """What a release has to show on a device, as it is signed."""
        return self.probation.signed()

    def window_of(self) -> Window | None:
        """When devices may change, as it is signed."""
        return self.window.signed() if self.window else None

    def problems(self, path: str) -> Sequence[Problem]:
        found = check_waves(self.wave_list(0), f"{path}.waves")
        found += same_twice(self.variants, lambda it: it.device_class, f"{path}.variants", "variants for the class")
        any_class = next((index for index, it in enumerate(self.variants) if it.device_class == ANY_CLASS), None)
        if any_class is not None and any_class < len(self.variants) - 1:
            what = f'is after the one for "{ANY_CLASS}", and the first that fits a class is for it'
            found.append(Problem(f"{path}.variants[{any_class + 1}]", what, f'"{ANY_CLASS}" as the last', "change their order"))
        return found
