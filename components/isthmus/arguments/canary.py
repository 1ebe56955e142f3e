"""A canary beside the stable release, and when it is promoted."""

from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Positive, RecipeText, Seconds, one_of

ANSWERS = ("classes", "values")


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
    version: Annotated[int, Field(ge=1, lt=2**31)]
    evaluation: str | None = None
    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


class CanaryGateSettings(Checked):
    min_requests: Annotated[int, Field(ge=1)] = 200
    max_error_percent: Annotated[float, Field(ge=0, le=100)] = 1.0
    max_p95_ms: Positive | None = None
    max_p95_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5
    answers: Annotated[str, one_of(ANSWERS, "comparison")] = "classes"
    max_drift_percent: Annotated[float, Field(ge=0, le=100)] = 5.0
    interval_seconds: Positive = 2.0
    deadline_seconds: Seconds = 600
