"""A canary beside the stable release, and when it is promoted."""

from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited, RecipeText, one_of
from isthmus.canary.drift import KINDS
from isthmus.limits import CANARY_GATE as GATE
from isthmus.limits import MIN_ACCURACY, VERSION


class CanaryArgs(TypedDict, total=False):
    """Another release, served beside the stable one. Its version must be another one; what is left out is as for the stable one."""

    model: Input[str]
    recipe: Input[Any]
    version: Input[int]
    evaluation: Input[str]
    min_accuracy: Input[float]


class CanaryGateArgs(TypedDict, total=False):
    """When a canary is promoted.

    min_requests: that each side must have answered. max_error_percent, max_p95_ms: of the canary. max_p95_ratio: to the stable
    release's p95. max_drift_percent: of the probes, answered differently than by the stable release. answers: `classes` or
    `values`, how they are compared. deadline_seconds: no verdict by then is a failure.
    """

    min_requests: Input[int]
    max_error_percent: Input[float]
    max_p95_ms: Input[float]
    max_p95_ratio: Input[float]
    answers: Input[str]
    max_drift_percent: Input[float]
    interval_seconds: Input[float]
    deadline_seconds: Input[int]


class CanarySettings(Checked):
    """model and recipe None: as for the stable release."""

    model: Annotated[str, Field(min_length=1)] | None = None
    recipe: RecipeText | None = None
    version: Annotated[int, Limited(VERSION)]
    evaluation: str | None = None
    min_accuracy: Annotated[float, Limited(MIN_ACCURACY)] | None = None


class CanaryGateSettings(Checked):
    """Bounds and defaults are `isthmus.limits.CANARY_GATE`, which the plugin has too."""

    min_requests: Annotated[int, Limited(GATE["min_requests"])] = GATE["min_requests"].default
    max_error_percent: Annotated[float, Limited(GATE["max_error_percent"])] = GATE["max_error_percent"].default
    max_p95_ms: Annotated[float, Limited(GATE["max_p95_ms"])] | None = GATE["max_p95_ms"].default
    max_p95_ratio: Annotated[float, Limited(GATE["max_p95_ratio"])] = GATE["max_p95_ratio"].default
    answers: Annotated[str, one_of(KINDS, "comparison")] = KINDS[0]
    max_drift_percent: Annotated[float, Limited(GATE["max_drift_percent"])] = GATE["max_drift_percent"].default
    interval_seconds: Annotated[float, Limited(GATE["interval_seconds"])] = GATE["interval_seconds"].default
    deadline_seconds: Annotated[int, Limited(GATE["deadline_seconds"])] = GATE["deadline_seconds"].default

    def limits(self, p95_ms: float) -> dict[str, Any]:
        """The gate as the resource `CanaryGate` takes it. p95_ms: what the canary has to keep where the gate does not say."""
        return {**self.model_dump(), "max_p95_ms": self.max_p95_ms or p95_ms}
