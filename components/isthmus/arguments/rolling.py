"""What a rollout on a fleet accepts."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.budget import BudgetArgs, BudgetSettings
from isthmus.arguments.checking import Checked, Limited, LimitedOr, RecipeText, one_of, same_twice
from isthmus.arguments.formats import ClassName
from isthmus.arguments.fusion import FusionArgs, FusionSettings
from isthmus.arguments.samples import SamplesArgs, SamplesSettings
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
from isthmus.compile.recipes import AUTO
from isthmus.errors import Problem
from isthmus.fleet.early import early_problems
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.limits import (
    DEADLINE_MS,
    DEVICE_MEGABITS_PER_SECOND,
    FALLBACK_TIMEOUT_MS,
    FLEET_WAVE,
    MAX_DEVICE_ERROR,
    MIN_CONFIDENCE,
    MOST_CLASSES,
    MOST_WAVES,
    RELEASES_PER_MONTH,
)
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_IN_GROUP, STAYS_ON_DEVICE
from isthmus_agent.formats.numbers import DAY_SECONDS
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.turns import Budget
from isthmus_agent.formats.window import Window


class DeviceAccessArgs(TypedDict, total=False):
    """As whom the devices that a stack runs on this machine use a store of the user's own (secrets)."""

    access_key: Input[str]
    secret_key: Input[str]


# `class` is a word of Python's, so that the class has to be written as a call.
VariantArgs = TypedDict("VariantArgs", {"class": Input[str], "recipe": Input[str]}, total=False)
"""A recipe for the devices of a class; `*`: for those of every class that no other names. Of several, the best that fits is taken."""


class RollingArgs(TypedDict, total=False):
    """A fleet file, in which waves a release reaches the fleet, and how sure a device must be to answer by itself.

    releases_per_month: for the cost of shipping. device_megabits_per_second: for the times that a preview shows. waves: left out: one
    device, then all. gate: of every wave. wait: whether `up` waits for the gates; else `isthmus fleet watch` or the next `up` looks at
    them. keys: folder of the key ring. variants: recipes by class of devices; left out: `recipe` for all. encrypt: what lies in the store
    for devices can be read by them alone. most_per_minute: devices of a wave that begin. budget: of devices with one value of a label
    that are updated at once; left out: none. samples: of what devices are asked, encrypted to the owner's key; left out: none. data:
    `stays_on_device`, `stays_in_group` (peers of a fleet file's groups may be asked) or `may_leave_device` (and the cloud role, and samples
    may be taken): where what devices are asked may go; left out: it stays, unless another argument asks for something else.
    min_confidence: a number, or `auto`: what the measured table says. max_device_error: for `auto`: a share of all requests. policy: a file
    with the figures of a migration policy: where requests are answered first. share_counts: whether devices tell how often their network
    and load went from level to level: the next preview solves the policy with it. deadline_ms: of requests that say none. fusion: devices
    that see the same thing answer together; left out: each by itself.
    """

    fleet: Input[str]
    releases_per_month: Input[float]
    device_megabits_per_second: Input[float]
    waves: Input[list[WaveArgs]]
    gate: Input[FleetGateArgs]
    probation: Input[ProbationArgs]
    window: Input[WindowArgs]
    most_per_minute: Input[int]
    budget: Input[BudgetArgs]
    wait: Input[bool]
    encrypt: Input[bool]
    keys: Input[str]
    device_access: Input[DeviceAccessArgs]
    variants: Input[list[VariantArgs]]
    min_confidence: Input[Any]
    max_device_error: Input[float]
    policy: Input[str]
    share_counts: Input[bool]
    fallback_timeout_ms: Input[int]
    deadline_ms: Input[int]
    samples: Input[SamplesArgs]
    fusion: Input[FusionArgs]
    data: Input[str]


class DeviceAccessSettings(Checked):
    """Values may be Outputs of other resources, so nothing but their presence is checked here."""

    access_key: Secret
    secret_key: Secret


class VariantSettings(Checked):
    device_class: ClassName = Field(alias="class")
    recipe: RecipeText


class RollingSettings(Checked):
    gone: ClassVar[Mapping[str, str]] = {"deadline_seconds": "say it of the waves' gate: `gate: {deadline_seconds: …}`"}

    fleet: str
    releases_per_month: Annotated[float, Limited(RELEASES_PER_MONTH)] = RELEASES_PER_MONTH.default
    device_megabits_per_second: Annotated[float, Limited(DEVICE_MEGABITS_PER_SECOND)] = DEVICE_MEGABITS_PER_SECOND.default
    waves: Annotated[tuple[WaveSettings, ...], Field(max_length=MOST_WAVES)] | None = None
    gate: FleetGateSettings = FleetGateSettings()
    probation: ProbationSettings = ProbationSettings()
    window: WindowSettings | None = None
    most_per_minute: Annotated[int, Limited(FLEET_WAVE["most_per_minute"])] | None = None
    budget: BudgetSettings | None = None
    wait: bool = True
    encrypt: bool = False
    keys: Annotated[str, Field(min_length=1)] | None = None
    device_access: DeviceAccessSettings | None = None
    variants: Annotated[tuple[VariantSettings, ...], Field(max_length=MOST_CLASSES)] = ()
    min_confidence: Annotated[float | str | None, LimitedOr(MIN_CONFIDENCE, AUTO)] = None
    max_device_error: Annotated[float, Limited(MAX_DEVICE_ERROR)] | None = None
    policy: Annotated[str, Field(min_length=1)] | None = None
    share_counts: bool = False
    fallback_timeout_ms: Annotated[int, Limited(FALLBACK_TIMEOUT_MS)] = FALLBACK_TIMEOUT_MS.default
    deadline_ms: Annotated[int, Limited(DEADLINE_MS)] | None = None
    samples: SamplesSettings | None = None
    fusion: FusionSettings | None = None
    data: Annotated[str, one_of((STAYS_ON_DEVICE, STAYS_IN_GROUP, MAY_LEAVE_DEVICE), "choice")] | None = None

    @property
    def seeks_confidence(self) -> bool:
        """Whether the threshold is to be found."""
        return self.min_confidence == AUTO

    def asks_cloud(self) -> bool:
        """Whether devices pass on what they are asked, where there is a cloud role: never without a word of the user's."""
        return self.data == MAY_LEAVE_DEVICE or (self.data is None and self.min_confidence is not None)

    def asks_peers(self) -> bool:
        """Whether devices pass on what they are asked to peers of their group, where there are any: never without a word of the user's."""
        return self.data in (STAYS_IN_GROUP, MAY_LEAVE_DEVICE)

    def wave_list(self, devices: int) -> Sequence[Wave]:
        """The waves. Where none are given: one device, then all. devices: of the whole fleet, 0 where that is not known."""
        if self.waves is not None:
            return [wave.pure(self.most_per_minute) for wave in self.waves]
        found = [Wave("all", percent=100)] if devices == 1 else [Wave("canary", count=1), Wave("rest", percent=100)]
        return [replace(wave, most_per_minute=self.most_per_minute) for wave in found]

    def gates(self, devices: int) -> Sequence[Gate]:
        """The gate of each wave of `wave_list`."""
        own = [None] * len(self.wave_list(devices)) if self.waves is None else [wave.gate for wave in self.waves]
        return [self.gate.but(gate) for gate in own]

    def probation_of(self) -> Probation:
        """What a release has to show on a device, as it is signed."""
        return self.probation.signed()

    def budget_of(self) -> Budget | None:
        """How many devices of one value of a label may be updated at once, as it is signed."""
        return self.budget.signed() if self.budget else None

    def window_of(self) -> Window | None:
        """When devices may change, as it is signed."""
        return self.window.signed() if self.window else None

    def problems(self, path: str) -> Sequence[Problem]:
        found = early_problems(self.wave_list(0), self.gates(0), f"{path}.waves")
        found += [] if found else self._deadlines(path)
        found += same_twice(self.variants, lambda it: (it.device_class, it.recipe), f"{path}.variants", "variants")
        found += [
            Problem(
                f"{path}.{name}",
                f"takes from {whom} what they are asked, and `data` says {self.data}",
                fix=f"remove it, or say {MAY_LEAVE_DEVICE}",
            )
            for data, whom, names in (
                (STAYS_ON_DEVICE, "devices", ("min_confidence", "policy", "samples", "fallback_url")),
                (STAYS_IN_GROUP, "groups", ("min_confidence", "samples", "fallback_url")),
            )
            for name in names
            if self.data == data and getattr(self, name, None) is not None
        ]
        if self.share_counts and self.policy is None:
            what, fix = "there is nothing to count without levels to count by", "name a `policy`, or remove it"
            found.append(Problem(f"{path}.share_counts", what, "a policy", fix))
        found += self.fusion.problems_beside(self.data, f"{path}.fusion") if self.fusion else []
        return self.placed(found, path)

    def placed(self, problems: Iterable[Problem], path: str) -> list[Problem]:
        """Problems of waves' gates where the user can mend them: a gate says most for all waves, and those of no user have no place."""
        found: dict[tuple[str, str], Problem] = {}
        for problem in problems:
            match = re.fullmatch(r"\.waves\[(\d+)\]\.gate\.(\w+)", problem.path.removeprefix(path))
            own = match and self.waves and self.waves[int(match[1])].gate
            if match and not (own and match[2] in own.model_fields_set):
                name = self.wave_list(0)[int(match[1])].name or f"waves[{match[1]}]"
                problem = replace(problem, path=f"{path}.gate.{match[2]}", what=f"{problem.what} (wave {name})")  # noqa: PLW2901
            found.setdefault((problem.path, problem.what.partition(" (wave ")[0]), problem)
        return [*found.values()]

    def longest_wait_seconds(self) -> int:
        """How long a device may have to wait for its part of the window."""
        window = self.window_of()
        return DAY_SECONDS - window.length_seconds + min(window.jitter_seconds, window.length_seconds) if window else 0

    def _deadlines(self, path: str) -> Iterator[Problem]:
        """Deadlines that are over before a device can have done what counts."""
        if self.window and self.window.problems(path):
            return
        wait, probation = self.longest_wait_seconds(), self.probation.seconds
        for index, gate in enumerate(self.gates(0)):
            needed = wait + probation + gate.soak_seconds
            if gate.deadline_seconds <= needed:
                waits = f"may wait {wait} s for the window, " if wait else ""
                what = f"is {gate.deadline_seconds:g} s, and a device {waits}is on probation for {probation} s and soaks for "
                what += f"{gate.soak_seconds:g} s before it counts"
                where = f"{path}.waves[{index}].gate.deadline_seconds"
                yield Problem(where, what, f"more than {needed:g}", "raise it, or shorten what comes before")
